"""Zero-shot: the pretrained model as it is. Nothing trains."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from studies.methods.method import Accounting, Member
from studies.settings import CellSettings


class ZeroShot:
    """The reference point that fine-tuning starts from."""

    member_kind = "none"

    def __init__(self, model: nn.Module, cell: CellSettings) -> None:
        self.model = model

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        return []

    def after_step(self, optimizer: Optimizer) -> None:
        return None

    def reported(self) -> AbstractContextManager[object]:
        return nullcontext()

    def reported_weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def members(self) -> list[Member]:
        return []

    def accounting(self) -> Accounting:
        return Accounting(sum(parameter.numel() for parameter in self.model.parameters()), 0, 0, 0)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        return None

    def merge(self) -> nn.Module:
        return self.model
