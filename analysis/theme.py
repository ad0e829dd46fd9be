"""Colours, order and printed names of methods, levers and scores; the drawing style as a context, never global.

Colours are Okabe and Ito's (2008), told apart under the common colour blindnesses; markers differ as well. Data are
fractions; only what is drawn or printed becomes percent, here.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.ticker import FuncFormatter


@dataclass(frozen=True)
class Look:
    """How a method is shown."""

    label: str
    color: str
    marker: str


METHODS: Mapping[str, Look] = MappingProxyType(
    {
        "zero_shot": Look("Zero-shot", "#000000", "*"),
        "linear_probe": Look("Linear probe", "#56B4E9", "v"),
        "full": Look("Full fine-tuning", "#D55E00", "s"),
        "random_mask": Look("Random masking", "#E69F00", "^"),
        "mixout": Look("Mixout", "#009E73", "D"),
        "gmixout": Look("GMixout", "#0072B2", "o"),
    }
)
OTHER = ("#CC79A7", "#999999", "#F0E442")

LEVERS: Mapping[str, str] = MappingProxyType(
    {
        "anchor": "masking anchor",
        "resample_every": "resampling period k (steps)",
        "sparsity": "mask sparsity p (fraction held)",
        "learning_rate": "learning rate",
        "ema_decay": "anchor decay λ",
        "granularity": "mask granularity",
        "rescale": "rescaling by 1/(1−p)",
    }
)

LEVELS: Mapping[str, str] = MappingProxyType(
    {
        "pretrained": "pretrained",
        "ema": "EMA",
        "average": "average",
        "latest": "latest",
        "zero": "zero",
    }
)

ANCHOR_MARKERS: Mapping[str, str] = MappingProxyType({
    "pretrained": "s", "ema": "o", "average": "P", "latest": "^", "zero": "X",
})  # fmt: skip

SCORES: Mapping[str, str] = MappingProxyType(
    {
        "id_score": "ID accuracy",
        "ood_score": "OOD accuracy",
        "worst_domain_score": "worst-domain accuracy",
        "corruption_score": "corruption accuracy",
        "gap_error": "ID − OOD",
        "many_score": "many-shot accuracy",
        "medium_score": "medium-shot accuracy",
        "few_score": "few-shot accuracy",
        "diversity_score": "member disagreement",
        "ensemble_gain_score": "ensemble gain",
    }
)

COLORMAPS: Mapping[str, str] = MappingProxyType({
    "id_score": "Blues", "ood_score": "Greens", "diversity_score": "Purples",
})  # fmt: skip
FAINT = "#9A9A9A"
WIDTH_INCHES = 7.2

_STYLE: Mapping[str, Any] = MappingProxyType(
    {
        "font.family": "DejaVu Sans",
        "font.size": 8.5,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 8.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.linewidth": 0.7,
        "grid.color": "#E6E6E6",
        "grid.linewidth": 0.6,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5,
        "legend.fontsize": 7.5,
        "legend.frameon": False,
        "lines.linewidth": 1.4,
        "lines.markersize": 5,
        "figure.dpi": 100,
        "savefig.dpi": 160,
        "savefig.facecolor": "white",
        "svg.hashsalt": "gmixout",
        "svg.fonttype": "path",
        "path.simplify": False,
    }
)
# What belongs to the caller's session rather than to the look of a figure.
_HOST = ("backend", "backend_fallback", "interactive", "toolbar", "timezone")


def style() -> AbstractContextManager[None]:
    """The style of all our figures; enter it around drawing and saving, whatever the caller's own settings are."""
    defaults: dict[Any, Any] = {name: value for name, value in mpl.rcParamsDefault.items() if name not in _HOST}
    return mpl.rc_context({**defaults, **dict[Any, Any](_STYLE)})


def sequence_colors(levels: int) -> ListedColormap:
    """As many ordered colours, light to dark, as a lever has levels; the palest of viridis are left out."""
    return ListedColormap([mpl.colormaps["viridis"](value) for value in np.linspace(0.84, 0.0, max(levels, 1))])


def look(method: str) -> Look:
    """How to show a method; one without an entry gets its own name and a fixed spare colour."""
    if method in METHODS:
        return METHODS[method]
    return Look(method, OTHER[sum(method.encode()) % len(OTHER)], "p")


def in_order(methods: Iterable[str]) -> list[str]:
    """Methods in the order to show: as in ``METHODS``, then the others by name.

    Example:
        >>> in_order(["new", "gmixout", "full"])
        ['full', 'gmixout', 'new']
    """
    order = list(METHODS)
    return sorted(set(methods), key=lambda name: (order.index(name) if name in order else len(order), name))


def lever_label(lever: str) -> str:
    """A lever's printed name."""
    return LEVERS.get(lever, lever.replace("_", " "))


def score_label(score: str, unit: str = " (%)") -> str:
    """A score's printed name with its unit."""
    return SCORES.get(score, score.removesuffix("_score").replace("_", " ")) + unit


def percent_ticks() -> FuncFormatter:
    """Tick labels in percent for an axis whose data are fractions, with as many decimals as its ticks need."""
    return FuncFormatter(lambda value, _: f"{round(100 * value, 6):g}".replace("-", "−"))
