"""Colours, order and printed names of methods, levers and scores; the drawing style as a context, never global.

A method's name in the records is ``base``, ``base/variant`` or either with ``+addition`` once or more: the base gives
family, colour and marker. Colours are Okabe and Ito's (2008), told apart under the common colour blindnesses, and two
of Tol's for the families beyond; markers differ within a family. Data are fractions; only what is drawn or printed
becomes percent, here.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
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
    family: str = "other"


FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "pretrained": "Pretrained",
        "few": "Few parameters",
        "full": "All parameters",
        "pulled": "Pulled to the pretrained weights",
        "averaged": "Averaged along a run",
        "several": "Built from several runs",
        "masked": "Masked without mixing",
        "mixout": "Mixout and its kin",
        "gmixout": "GMixout",
        "other": "Other",
    }
)

METHODS: Mapping[str, Look] = MappingProxyType(
    {
        "zero_shot": Look("Zero-shot", "#000000", "*", "pretrained"),
        "linear_probe": Look("Linear probe", "#56B4E9", "v", "few"),
        "random_head_probe": Look("Linear probe, random head", "#56B4E9", "<", "few"),
        "bias_norm": Look("Biases and norms", "#56B4E9", "P", "few"),
        "lora": Look("LoRA", "#56B4E9", "s", "few"),
        "dora": Look("DoRA", "#56B4E9", "D", "few"),
        "shira": Look("SHiRA", "#56B4E9", "X", "few"),
        "full": Look("Full fine-tuning", "#D55E00", "s", "full"),
        "lp_ft": Look("LP-FT", "#D55E00", "v", "full"),
        "flyp": Look("FLYP", "#D55E00", "P", "full"),
        "l2_sp": Look("L2-SP", "#999933", "s", "pulled"),
        "decay_to_pretrained": Look("Decay to pretrained", "#999933", "D", "pulled"),
        "ema": Look("EMA of full fine-tuning", "#CC79A7", "o", "averaged"),
        "weight_average": Look("Weight average", "#CC79A7", "s", "averaged"),
        "swad": Look("SWAD", "#CC79A7", "D", "averaged"),
        "uniform_soup": Look("Uniform soup", "#882255", "s", "several"),
        "greedy_soup": Look("Greedy soup", "#882255", "D", "several"),
        "diwa": Look("DiWA", "#882255", "P", "several"),
        "ensemble": Look("Ensemble", "#882255", "o", "several"),
        "random_mask": Look("Random masking", "#E69F00", "^", "masked"),
        "sequential_masks": Look("Sequential masks", "#E69F00", "v", "masked"),
        "dropconnect": Look("DropConnect", "#009E73", "X", "mixout"),
        "mixout": Look("Mixout", "#009E73", "D", "mixout"),
        "mixout_published": Look("Mixout, published gradient", "#009E73", "s", "mixout"),
        "hr_mixout": Look("HR-Mixout", "#009E73", "^", "mixout"),
        "hr_mixout_filter": Look("HR-Mixout, filters", "#009E73", "v", "mixout"),
        "gmixout": Look("GMixout", "#0072B2", "o", "gmixout"),
    }
)
OTHER = ("#999999", "#777777", "#BBBBBB")

ADDITIONS: Mapping[str, str] = MappingProxyType(
    {
        "crop": "random crops",
        "flip": "mirroring",
        "randaugment": "RandAugment",
        "mixup": "MixUp",
        "cutmix": "CutMix",
        "label_smoothing": "label smoothing",
        "class_balanced": "class balancing",
        "logit_adjusted": "logit adjustment",
        "adversarial": "adversarial training",
        "early_stopping": "early stopping",
    }
)
WITHOUT = "no_"
"""Begins an addition that all training of a study has, but not this method's, see :mod:`analysis.plain_names`."""

# RandAugment acts on random crops, so that saying both says one thing twice.
IMPLIED: Mapping[str, str] = MappingProxyType({"crop": "randaugment"})

LEVERS: Mapping[str, str] = MappingProxyType(
    {
        "anchor": "masking anchor",
        "resample_every": "resampling period k (steps)",
        "sparsity": "mask sparsity p (fraction held)",
        "learning_rate": "learning rate",
        "ema_decay": "anchor decay λ",
        "ema_update": "EMA takes a value each",
        "ema_bias_correction": "EMA bias correction",
        "granularity": "mask granularity",
        "count": "number kept",
        "residual": "residuals at a redraw",
        "moments": "moments at a redraw",
        "report": "reported weights",
        "rescale": "rescaling by 1/(1−p)",
    }
)

SHORT_LEVERS: Mapping[str, str] = MappingProxyType({
    "anchor": "anchor", "resample_every": "period k", "sparsity": "sparsity p", "learning_rate": "learning rate",
    "ema_decay": "decay λ",
})  # fmt: skip

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
        "id_calibration_error": "ID calibration error",
        "ood_calibration_error": "OOD calibration error",
        "ensemble_gain_score": "ensemble gain",
    }
)

COLORMAPS: Mapping[str, str] = MappingProxyType({
    "id_score": "Blues", "ood_score": "Greens", "diversity_score": "Purples", "ood_calibration_error": "Oranges",
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


def name_parts(method: str) -> tuple[str, str, tuple[str, ...]]:
    """A method's base, variant and additions.

    Example:
        >>> name_parts("full/long+randaugment+mixup")
        ('full', 'long', ('randaugment', 'mixup'))
    """
    name, *additions = method.split("+")
    base, _, variant = name.partition("/")
    return base, variant, tuple(additions)


def look(method: str) -> Look:
    """How to show a method: its base's family, colour and marker, a label that also names variant and additions.

    A base without an entry gets its own name, a fixed spare colour and the family ``other``.

    Example:
        >>> [look(name).label for name in ("gmixout+crop+randaugment", "ensemble/short", "flyp+no_crop", "mine")]
        ['GMixout + RandAugment', 'Ensemble (short)', 'FLYP − random crops', 'mine']
    """
    base, variant, additions = name_parts(method)
    shown = METHODS.get(base, Look(base, OTHER[sum(base.encode()) % len(OTHER)], "p"))
    label = shown.label + (f" ({variant.replace('_', ' ')})" if variant else "")
    said = [one for one in additions if IMPLIED.get(one) not in additions]
    for one in said:
        name = one.removeprefix(WITHOUT)
        sign = "−" if one.startswith(WITHOUT) else "+"
        label += f" {sign} {ADDITIONS.get(name, name.replace('_', ' '))}"
    return replace(shown, label=label)


def plainest(methods: Iterable[str], base: str) -> str:
    """What stands for a base where a study adds something to all training: the form of it with least added.

    Args:
        methods: Methods that there are.
        base: A method's name. Where it is itself among them, nothing of it is, or any other method trains without
            additions, it is returned as it is.

    Example:
        >>> plainest(["zero_shot", "full+crop", "full+crop+randaugment", "full/short+crop"], "full")
        'full+crop'
        >>> plainest(["full", "full+crop"], "full"), plainest(["lora", "full+crop"], "full")
        ('full', 'full')
    """
    known = list(methods)
    # These train nothing themselves, so that nothing can be added to them.
    are_added_to = [one for one in known if look(one).family not in ("pretrained", "several")]
    found = [one for one in known if name_parts(one)[:2] == (base, "")]
    if not found or base in known or not all(name_parts(one)[2] for one in are_added_to):
        return base
    return min(found, key=lambda one: (len(name_parts(one)[2]), one))


def in_order(methods: Iterable[str]) -> list[str]:
    """Methods in the order to show: bases as in ``METHODS``, then the others by name; each plain, then its variants
    and additions.

    Example:
        >>> in_order(["new", "gmixout", "full+mixup", "full/long", "full"])
        ['full', 'full+mixup', 'full/long', 'gmixout', 'new']
    """
    bases, known = list(METHODS), list(ADDITIONS)

    def place(method: str) -> tuple[Any, ...]:
        base, variant, additions = name_parts(method)
        order = [known.index(one) if one in known else len(known) for one in additions]
        return bases.index(base) if base in bases else len(bases), base, variant, order, additions

    return sorted(set(methods), key=place)


def lever_label(lever: str) -> str:
    """A lever's printed name."""
    return LEVERS.get(lever, lever.replace("_", " "))


def lever_title(lever: str) -> str:
    """The same at the beginning of a title; abbreviations stay as they are.

    Example:
        >>> lever_title("anchor"), lever_title("ema_bias_correction")
        ('Masking anchor', 'EMA bias correction')
    """
    name = lever_label(lever)
    return name[:1].upper() + name[1:]


def level_name(level: object) -> str:
    """A lever's level as it is printed.

    Example:
        >>> level_name("ema"), level_name("0.8")
        ('EMA', '0.8')
    """
    return LEVELS.get(str(level), str(level))


def score_label(score: str, unit: str = " (%)") -> str:
    """A score's printed name with its unit."""
    return SCORES.get(score, score.removesuffix("_score").replace("_", " ")) + unit


def percent_ticks() -> FuncFormatter:
    """Tick labels in percent for an axis whose data are fractions, with as many decimals as its ticks need."""
    return FuncFormatter(lambda value, _: f"{round(100 * value, 6):g}".replace("-", "−"))
