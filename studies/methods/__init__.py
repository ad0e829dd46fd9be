"""Fine-tuning methods by name, all behind the signature in `method.py`."""

from collections.abc import Callable

from torch import nn

from studies.methods.full import Full
from studies.methods.linear_probe import LinearProbe
from studies.methods.masked import Masked
from studies.methods.method import Accounting, Member, Method
from studies.methods.zero_shot import ZeroShot
from studies.settings import CellSettings

METHODS: dict[str, Callable[[nn.Module, CellSettings], Method]] = {
    "zero_shot": ZeroShot,
    "linear_probe": LinearProbe,
    "full": Full,
    "mixout": Masked,
    "random_mask": Masked,
    "gmixout": Masked,
}

__all__ = ["METHODS", "Accounting", "Member", "Method"]
