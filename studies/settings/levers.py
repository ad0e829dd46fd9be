"""The levers a study may set or sweep: their types, their ranges, and when one of them makes no difference."""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model


def _whole_steps_or_inf(value: float) -> float:
    if value == math.inf:
        return value
    if not math.isfinite(value) or value < 1 or value != int(value):
        raise ValueError("a period is a whole number of steps, at least 1, or .inf for one mask a run")
    return value


Sparsity = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Period = Annotated[float, AfterValidator(_whole_steps_or_inf)]

LEVERS: dict[str, tuple[Any, str]] = {
    "anchor": (
        Literal["pretrained", "ema", "latest", "average", "zero"],
        "What masked-out weights are held at.",
    ),
    "ema_decay": (Fraction, "Weight of the OLD anchor in the moving average, in [0, 1]."),
    "ema_update": (Literal["episode", "step"], "Whether the average moves once an episode or follows every step."),
    "ema_bias_correction": (bool, "Whether the average is corrected for its start at the pretrained weights."),
    "resample_every": (Period, "Steps one mask lives: a whole number >= 1, or .inf for one mask a run."),
    "sparsity": (Sparsity, "Fraction of the masked weights held at the anchor, in [0, 1)."),
    "granularity": (Literal["element", "row", "column", "block"], "What one mask bit covers."),
    "group_size": (Annotated[int, Field(ge=1)], "Input features a column mask bit covers."),
    "block_size": (Literal[64, 128], "Side of the square a block mask bit covers."),
    "count": (Literal["exact", "bernoulli"], "Whether the number of trainable entries is fixed or drawn."),
    "residual": (Literal["reset", "carry"], "Whether the residual restarts at 0 with a new mask or persists."),
    "rescale": (bool, "Whether the residual is divided by 1 - sparsity."),
    "moments": (Literal["reset", "carry"], "What happens to the optimiser's moments at a new mask."),
    "report": (Literal["anchor", "effective", "student"], "Which weights are evaluated and merged."),
    "gradient": (Literal["exact", "published"], "The exact gradient, or Mixout's public code's."),
    "decay_to": (Literal["zero", "anchor"], "What weight decay pulls towards."),
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _fixed_fields() -> dict[str, Any]:
    return {name: (kind | None, Field(None, description=text)) for name, (kind, text) in LEVERS.items()}


def _sweep_fields() -> dict[str, Any]:
    return {
        name: (Annotated[tuple[kind, ...], Field(min_length=1)] | None, Field(None, description=text))  # type: ignore[valid-type]
        for name, (kind, text) in LEVERS.items()
    }


Levers = create_model("Levers", __base__=_Frozen, __doc__="Fixed values of levers.", **_fixed_fields())
Sweep = create_model("Sweep", __base__=_Frozen, __doc__="Values to try of levers, crossed.", **_sweep_fields())


def given(levers: BaseModel) -> dict[str, Any]:
    """Only the levers that the study file names, in the order of ``LEVERS``.

    Example:
        >>> given(Levers(sparsity=0.9, anchor="ema"))
        {'anchor': 'ema', 'sparsity': 0.9}
    """
    return {name: value for name, value in levers.model_dump().items() if value is not None}


def canonical_levers(levers: dict[str, Any], steps: int, weight_decay: float) -> dict[str, Any]:
    """One spelling for all settings of the levers that make the same run: what has no effect becomes None.

    A mask that outlives the run makes every moving anchor the pretrained one (unless the anchor itself is
    reported), a decay rate says nothing where nothing decays, and so on.

    Args:
        levers: Every lever by name.
        steps: Optimiser steps of the run.
        weight_decay: Weight decay of the run.

    Returns:
        The levers in the order of ``LEVERS``; a lever without effect is None, a period beyond the run is inf.

    Example:
        >>> levers = {"anchor": "latest", "ema_decay": 0.9, "resample_every": 1000.0, "report": "effective"}
        >>> canonical_levers(levers, steps=300, weight_decay=0.0)
        {'anchor': 'pretrained', 'ema_decay': None, 'resample_every': inf, 'report': 'effective'}
    """
    levers = {name: levers[name] for name in LEVERS if name in levers}
    if "resample_every" in levers:
        levers["resample_every"] = float(levers["resample_every"])
        if levers["resample_every"] > steps:
            levers["resample_every"] = math.inf
    is_one_mask = levers.get("resample_every") == math.inf
    if is_one_mask and levers.get("report") != "anchor" and levers.get("anchor") != "zero":
        levers["anchor"] = "pretrained"
    silent = []
    if levers.get("anchor") != "ema":
        silent += ["ema_decay", "ema_update", "ema_bias_correction"]
    if levers.get("granularity") != "column":
        silent += ["group_size"]
    if levers.get("granularity") != "block":
        silent += ["block_size"]
    if is_one_mask:
        silent += ["residual", "moments"]
    if weight_decay == 0:
        silent += ["decay_to"]
    return {name: None if name in silent else value for name, value in levers.items()}
