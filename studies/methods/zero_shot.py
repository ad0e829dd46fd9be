"""Zero-shot: the pretrained model as it is. Nothing trains."""

from typing import Any

from studies.methods.method import Accounting, Method


class ZeroShot(Method):
    """The reference point that fine-tuning starts from."""

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        return []

    def accounting(self) -> Accounting:
        return Accounting(sum(parameter.numel() for parameter in self.model.parameters()), 0, 0, 0)
