"""Fine-tuning methods by name, all behind the signature in `method.py`."""

from collections.abc import Callable

from torch import nn

from studies.methods.adapters import Dora, Lora, Shira
from studies.methods.anchored import DecayToPretrained, L2Sp
from studies.methods.averages import Ema, WeightAverage
from studies.methods.bias_norm import BiasNorm
from studies.methods.flyp import Flyp
from studies.methods.full import Full
from studies.methods.linear_probe import LinearProbe, RandomHeadProbe
from studies.methods.lp_ft import LpFt
from studies.methods.masked import Masked
from studies.methods.method import Accounting, Criterion, Member, Method, Phase
from studies.methods.plain import Plain
from studies.methods.swad import Swad
from studies.methods.zero_shot import ZeroShot
from studies.settings import POINTS, CellSettings
from studies.settings.plugins import USERS

METHODS: dict[str, Callable[[nn.Module, CellSettings], Method]] = {
    "zero_shot": ZeroShot,
    "linear_probe": LinearProbe,
    "random_head_probe": RandomHeadProbe,
    "bias_norm": BiasNorm,
    "full": Full,
    "lp_ft": LpFt,
    "l2_sp": L2Sp,
    "decay_to_pretrained": DecayToPretrained,
    "ema": Ema,
    "weight_average": WeightAverage,
    "swad": Swad,
    "lora": Lora,
    "dora": Dora,
    "shira": Shira,
    "flyp": Flyp,
    **dict.fromkeys(POINTS, Masked),
}
"""Methods that train one model. What is built from the runs of a pool is in `studies.combinations`."""


def attach(model: nn.Module, cell: CellSettings) -> Method:
    """A cell's method, ours or a user's own, on a model."""
    return (METHODS.get(cell.method) or USERS[cell.method])(model, cell)


__all__ = ["METHODS", "Accounting", "Criterion", "Full", "Member", "Method", "Phase", "Plain", "attach"]
