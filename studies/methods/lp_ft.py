"""LP-FT: a linear probe first, then full fine-tuning from its head (Kumar et al., ICLR 2022)."""

from typing import Any

from torch import nn

from studies.failures import Impossible
from studies.methods.full import Full
from studies.methods.linear_probe import head_of
from studies.methods.method import Phase, plain_groups
from studies.settings import CellSettings
from studies.settings.training import Schedule


class LpFt(Full):
    """Two phases share the run's steps; each has its own optimiser and its own warm-up and decay.

    The first is a linear probe of so many steps, step for step; nothing but the head moves in it.
    """

    def __init__(self, model: nn.Module, cell: CellSettings) -> None:
        super().__init__(model, cell)
        self._head = {f"head.{name}" for name, _ in head_of(model).named_parameters()}
        self._fraction = float(cell.options["probe_fraction"])
        self._probe_learning_rate = float(cell.options["probe_learning_rate"])
        self._phase = 0

    def phases(self, schedule: Schedule, learning_rate: float) -> tuple[Phase, ...]:
        if schedule.steps < 2:
            raise Impossible(f"LP-FT needs at least one step for each of its two phases, got steps {schedule.steps}")
        probe = min(max(1, round(self._fraction * schedule.steps)), schedule.steps - 1)
        return (Phase(probe, self._probe_learning_rate), Phase(schedule.steps - probe, learning_rate))

    def begin(self, phase: int) -> None:
        self._phase = phase
        for name, parameter in self.trained.items():
            parameter.requires_grad_(phase == 1 or name in self._head)

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        chosen = {name: value for name, value in self.trained.items() if self._phase == 1 or name in self._head}
        return plain_groups(chosen, weight_decay)
