"""Averages of the weights along one run of full fine-tuning: exponential and uniform, by torch's `AveragedModel`."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from studies.methods.full import Full
from studies.methods.plain import copied, put
from studies.settings import CellSettings


class _Averaged(Full):
    def __init__(self, model: nn.Module, cell: CellSettings) -> None:
        super().__init__(model, cell)
        self._average = self.average(model, cell)
        self._averaged = dict(self._average.module.named_parameters())

    @staticmethod
    @abstractmethod
    def average(model: nn.Module, cell: CellSettings) -> AveragedModel:
        """The average before any step."""

    def _is_counted(self) -> bool:
        return True

    def after_step(self, optimizer: Optimizer) -> None:
        super().after_step(optimizer)
        if self._is_counted():
            self._average.update_parameters(self.model)

    @contextmanager
    def reported(self) -> Iterator[None]:
        # Before the first update an average is what it was copied from, the pretrained model.
        own = copied(self.trained)
        put(self.trained, self._averaged)
        try:
            yield
        finally:
            put(self.trained, own)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"average": self._average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._average.load_state_dict(state["average"])

    def merge(self) -> nn.Module:
        put(self.trained, self._averaged)
        return self.model


class Ema(_Averaged):
    """The exponential moving average of a full fine-tuning run, starting at its first step's weights."""

    @staticmethod
    def average(model: nn.Module, cell: CellSettings) -> AveragedModel:
        return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(float(cell.options["decay"])))


class WeightAverage(_Averaged):
    """The uniform average of a full fine-tuning run's weights after each step, from some step on.

    As in stochastic weight averaging (Izmailov et al., UAI 2018), but along the study's own learning-rate schedule.
    """

    def __init__(self, model: nn.Module, cell: CellSettings) -> None:
        super().__init__(model, cell)
        # At least the last step counts, however short the run.
        self._start = min(int(float(cell.options["start_fraction"]) * cell.steps), max(cell.steps - 1, 0))

    @staticmethod
    def average(model: nn.Module, cell: CellSettings) -> AveragedModel:
        return AveragedModel(model)

    def _is_counted(self) -> bool:
        return self.step > self._start
