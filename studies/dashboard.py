"""A study's records as an Optuna study in memory, for its dashboard: settings, scores, curves, notes, figures.

It is a copy: what someone changes or deletes in the browser touches no result.
"""

import math
import warnings
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from analysis.outcomes import outcomes
from analysis.records import LEVERS, Records
from analysis.selection import candidates
from studies.objectives import values_of
from studies.settings import OBJECTIVES
from studies.settings.objectives import JUDGED

FACTS = ("method", "seed", "pretrain_seed", "learning_rate", *LEVERS)
STATES = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED}


def mirror(
    records: Records, name: str, objectives: Sequence[str] = ("id_val_accuracy_score",), note: str = ""
) -> optuna.Study:
    """An Optuna study in memory with a trial a cell.

    Args:
        records: Of one study.
        name: The study's name.
        objectives: What a trial's values are: keys of ``OBJECTIVES``.
        note: What the study's page says, in Markdown.

    Returns:
        The study. A trial has every setting that differs between cells as a parameter (its own where it has it), its
        ID validation curve as intermediate values (one objective only), and its scores, costs and identity as
        attributes. Cells that failed or diverged have no value and say why.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directions = [OBJECTIVES[objective].direction for objective in objectives]
    study = optuna.create_study(study_name=name, directions=directions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(list(objectives))
    choices = _distributions(records.cells)
    curves = records.curves[records.curves["metric"].eq("id_val_accuracy_score")]
    by_cell = dict(iter(curves.groupby("cell")))
    scores = _scores(records)
    metrics = dict(iter(records.metrics.groupby("cell")))
    for row in records.cells.to_dict("records"):
        identity = row["cell"]
        state = STATES.get(row["status"], TrialState.FAIL)
        one = _only(records, identity, metrics.get(identity))
        values = values_of(one, objectives) if state is TrialState.COMPLETE else []
        if not all(map(math.isfinite, values)):
            state = TrialState.FAIL
        has_curve = objectives[0] in JUDGED and len(objectives) == 1 and identity in by_cell
        curve = by_cell[identity] if has_curve else pd.DataFrame({"step": [], "value": []})
        point = {fact: _plain(row[fact]) for fact in choices if _is_given(row[fact])}
        study.add_trial(
            optuna.trial.create_trial(
                state=state,
                values=values if state is TrialState.COMPLETE else None,
                params=point,
                distributions={fact: choices[fact] for fact in point},
                intermediate_values={int(step): float(value) for step, value in zip(curve["step"], curve["value"])},
                user_attrs={"cell": identity, "status": row["status"], **_attributes(row), **scores.get(identity, {})},
            )
        )
    if note:
        from optuna_dashboard import save_note

        save_note(study, note)
    return study


def attach_figures(study: optuna.Study, figures: Sequence[Path], folder: Path) -> FileSystemArtifactStore:
    """Makes figures the study's artifacts.

    Args:
        study: From :func:`mirror`.
        figures: PNG files.
        folder: Where the artifacts are kept while the dashboard is open; made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = FileSystemArtifactStore(folder)
    for figure in figures:
        upload_artifact(artifact_store=store, file_path=str(figure), study_or_trial=study, mimetype="image/png")
    return store


def _only(records: Records, identity: str, metrics: pd.DataFrame | None) -> Records:
    nothing = Records.empty()
    cells = records.cells[records.cells["cell"].eq(identity)]
    return Records(cells, nothing.metrics if metrics is None else metrics, nothing.examples, nothing.curves)


def _scores(records: Records) -> dict[str, dict[str, float]]:
    found = outcomes(records, candidates(records))
    found = found[found["weights"].eq("reported")]
    names = [name for name in ("id_score", "ood_score", "corruption_score", "diversity_score") if name in found]
    return {
        str(row["cell"]): {name: round(float(row[name]), 6) for name in names if _is_given(row[name])}
        for row in found.to_dict("records")
    }


def _distributions(cells: pd.DataFrame) -> dict[str, BaseDistribution]:
    found: dict[str, BaseDistribution] = {}
    for fact in FACTS:
        values = [_plain(value) for value in cells[fact].dropna()]
        different = sorted(set(values), key=lambda value: (str(type(value)), value))
        if len(different) < 2:
            continue
        is_number = all(isinstance(value, float) and math.isfinite(value) for value in different)
        if is_number:
            is_wide = different[0] > 0 and different[-1] >= 10 * different[0]
            found[fact] = FloatDistribution(different[0], different[-1], log=is_wide)
        else:
            found[fact] = CategoricalDistribution(different)
    return found


def _attributes(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    names = ("failure", "train_time_s", "wall_time_s", "training_flops", "peak_memory_bytes", "options", "recipe")
    return {name: _plain(row[name]) for name in names if _is_given(row[name]) and row[name] != ""}


def _is_given(value: Any) -> bool:
    return value is not None and value is not pd.NA and value == value


def _plain(value: Any) -> Any:
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, float) and math.isinf(plain):
        return "inf" if plain > 0 else "-inf"
    return plain
