"""Whether a study's methods can be had with its backbones: asked of empty networks, before any work."""

from collections.abc import Sequence

from torch import nn

from studies import backbones
from studies.backbones.depth import distances
from studies.methods.adapted import layers_to_adapt
from studies.modes import has_batch_norms
from studies.recomputing import recompute
from studies.settings import MethodBlock, Schedule, StudySettings

ADAPTERS = ("lora", "dora", "shira")


def require_fit(study: StudySettings, classes: Sequence[str]) -> None:
    """Refuses what a backbone cannot give; shapes say it, no weights are read.

    Args:
        study: The settings.
        classes: Names of the benchmark's classes, as a text tower is to read them.

    Raises:
        ValueError: If a backbone does not know the classes, an adapter finds no layer, blocks cannot be recomputed,
            layers have no order, or batches are to be cut or shared where batch norms see them whole.
    """
    engine = study.execution.engine()
    for name in study.backbones:
        model = backbones.blank(name, classes, device="meta")
        if engine.recomputes:
            recompute(model, True)
            recompute(model, False)
        for block in study.methods:
            if not study.is_skipped(block, name):
                _require(model, name, block, study)


def _require(model: nn.Module, backbone: str, block: MethodBlock, study: StudySettings) -> None:
    if block.name in ADAPTERS:
        for options in block.option_combinations():
            layers_to_adapt(model, str(options["targets"]), block.name)
    # What is built from a pool is built from full fine-tuning runs.
    if not block.traits.trains and block.pool is None:
        return
    schedule = study.schedule_of(block)
    if schedule.layer_decay < 1:
        distances(model)
    if block.traits.trains_norms and has_batch_norms(model) and schedule.batch_norm == "batch":
        _require_whole(backbone, block, schedule, study)


def _require_whole(backbone: str, block: MethodBlock, schedule: Schedule, study: StudySettings) -> None:
    engine = study.execution.engine()
    if engine.processes > 1 or engine.parts(schedule.batch_size) > 1:
        raise ValueError(
            f"{block.name} trains the batch norms of {backbone}, which compute with the statistics of a whole batch: "
            f"set training.batch_norm: frozen, or leave execution.micro_batch ({engine.micro_batch}) and "
            f"execution.processes ({engine.processes}) out"
        )
