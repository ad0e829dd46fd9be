"""What of a cell is a choice (its setting), what is a repetition (its run), and which levers a study moved."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from analysis.records import LEVERS

PLACE = ["benchmark", "backbone"]
# What a method may choose besides learning rate, steps, batch size and weight decay.
CHOICES = (*LEVERS, "options", "recipe")
MAIN_LEVERS = ("anchor", "resample_every", "sparsity")
LEVEL_ORDER: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "anchor": ("pretrained", "ema", "average", "latest", "zero"),
        "ema_update": ("episode", "step"),
        "granularity": ("element", "row", "column", "block"),
        "count": ("exact", "bernoulli"),
        "residual": ("reset", "carry"),
        "moments": ("reset", "carry"),
        "report": ("anchor", "effective", "student"),
        "gradient": ("exact", "published"),
        "decay_to": ("zero", "anchor"),
    }
)
# Levers that have a meaning under one level of another only; when that one moves, they move with it.
NESTED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "anchor": ("ema_decay", "ema_update", "ema_bias_correction"),
        "granularity": ("group_size", "block_size"),
    }
)


def with_setting(cells: pd.DataFrame) -> pd.DataFrame:
    """Adds ``setting`` (text: everything chosen but the learning rate) and ``run`` (text: pretrain_seed/seed).

    Cells that share method, setting and learning rate are repetitions of each other; cells that share a run can be
    paired, whatever their method.

    Raises:
        ValueError: If two cells are the same repetition of the same setting.
    """
    chosen = ["steps", "batch_size", "weight_decay", *CHOICES]
    # A study has a few hundred settings however many cells: each is spelled once.
    group = cells.groupby(chosen, sort=False, dropna=False, observed=True).ngroup().to_numpy()
    different = cells.iloc[np.unique(group, return_index=True)[1]]
    columns = [[f"{name}={level_label(value)}" for value in different[name]] for name in chosen]
    spelled = [" ".join(part for part in row if not part.endswith("=")) for row in zip(*columns)]
    labels = [spelled[number] for number in group]
    runs = [f"{pretrain}/{seed}" for pretrain, seed in zip(cells["pretrain_seed"], cells["seed"])]
    added = cells.assign(setting=np.array(labels, dtype=object), run=np.array(runs, dtype=object))
    repeated = added.duplicated([*PLACE, "method", "setting", "learning_rate", "run"])
    if repeated.any():
        first = added[repeated].iloc[0]
        raise ValueError(
            "records hold each repetition of a setting once, got two cells for "
            f"{first['method']} ({first['setting']}), learning rate {first['learning_rate']}, run {first['run']}; "
            "they differ in code, manifest or a column that is no setting: keep one study with Records.where or "
            "keep, or give the folder records in the results, which has the cells of its study alone"
        )
    return added


def level_label(value: object) -> str:
    """One lever value as short text; empty for a null.

    Example:
        >>> [level_label(value) for value in (0.90, 10.0, float("inf"), "ema", None)]
        ['0.9', '10', '∞', 'ema', '']
    """
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | int | np.floating | np.integer):
        return "∞" if np.isinf(value) else f"{value:g}"
    return str(value)


def varying_levers(frame: pd.DataFrame) -> list[str]:
    """The levers with more than one value, the main three first, then in the schema's order."""
    names = [*MAIN_LEVERS, *(name for name in LEVERS if name not in MAIN_LEVERS)]
    return [name for name in names if name in frame and frame[name].dropna().nunique() > 1]


def ordered_levels(lever: str, values: Iterable[object]) -> list[object]:
    """A lever's different values, without nulls, in the order to show: by number, or as ``LEVEL_ORDER`` says."""
    levels = list(pd.Series(list(values), dtype=object).dropna().unique())
    order = {name: position for position, name in enumerate(LEVEL_ORDER.get(lever, ()))}
    return sorted(levels, key=lambda level: (order.get(str(level), len(order)), level))


def with_shared_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """Lists the one run of an endless mask under every anchor, as ``is_shared`` copies.

    A mask that lives for the whole run never moves to another anchor, so pretrained, moving-average, average and latest
    anchors are one and the same run there, and a study stores it once, as ``pretrained``. Copies are made for the
    moving anchors that the frame has and that lack an endless mask of their own; not where the anchor itself is
    reported, nor for ``zero``.
    """
    reports_anchor = frame["report"].eq("anchor").fillna(False).astype(bool)
    is_endless = np.isinf(frame["resample_every"]) & ~reports_anchor
    endless = frame[is_endless & frame["anchor"].eq("pretrained").fillna(False).astype(bool)]
    parts = [frame.assign(is_shared=False)]
    for anchor in ordered_levels("anchor", frame["anchor"]):
        has_own = (frame["anchor"].eq(str(anchor)).fillna(False) & np.isinf(frame["resample_every"])).any()
        if anchor not in ("pretrained", "zero") and not has_own and len(endless):
            copy = endless.assign(is_shared=True)
            copy["anchor"] = pd.array([str(anchor)] * len(copy), dtype="string")
            parts.append(copy)
    return pd.concat(parts, ignore_index=True)


def comparable(frame: pd.DataFrame, lever: str) -> pd.DataFrame:
    """The rows that can tell what a lever does: those of the main design for a main lever.

    Where anchors share the run of an endless mask, that run says nothing about the anchor and is left out there; it
    stands under every anchor for the period, and once for every other lever.
    """
    kept = core(frame) if lever in MAIN_LEVERS else frame
    if not _has_shared_runs(kept) or lever == "resample_every":
        return kept
    return kept[~np.isinf(kept["resample_every"])] if lever == "anchor" else kept[~kept["is_shared"]]


def other_levers(frame: pd.DataFrame, lever: str) -> list[str]:
    """The varying levers, and the learning rate, that a fair comparison of this one's levels must hold fixed.

    For the period, anchors that share a run are averaged instead: one run under three names is still one observation.
    """
    left_out = {lever, *NESTED.get(lever, ())}
    if lever == "resample_every" and _has_shared_runs(frame):
        left_out |= {"anchor", *NESTED["anchor"]}
    rate = ["learning_rate"] if "learning_rate" in frame and frame["learning_rate"].nunique() > 1 else []
    return [name for name in [*varying_levers(frame), *rate] if name not in left_out]


def _has_shared_runs(frame: pd.DataFrame) -> bool:
    return "is_shared" in frame and bool(frame["is_shared"].any())


def core(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the main design: every lever besides the main three at its most frequent value.

    Side arms of a study (another granularity at one setting, say) would unbalance an analysis of the three levers.
    """
    kept = frame
    for lever in varying_levers(frame):
        if lever in MAIN_LEVERS:
            continue
        mode = kept[lever].mode()
        if len(mode):
            is_mode = kept[lever].eq(mode.iloc[0]).fillna(False).astype(bool)
            # A null lever has no effect there, so it does not set a cell apart from the main design.
            kept = kept[is_mode | kept[lever].isna()]
    return kept


def grid(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the main design whose main levers are fully crossed: every combination of the levels that are left.

    A study may follow a lever at more levels around a middle than its grid has. There only one setting of the other
    levers stands, so such a level cannot say what the lever does elsewhere, and interactions cannot be estimated with
    it. The level of which the fewest combinations are there goes first, until none is missing. Where that would leave
    a moved lever a single level (a study along one lever at a time), all of :func:`core` is returned.

    Example:
        >>> points = [("ema", 1.0, 0.5), ("ema", 1.0, 0.9), ("ema", 9.0, 0.5), ("ema", 9.0, 0.9), ("ema", 1.0, 0.7)]
        >>> sorted(set(grid(pd.DataFrame(points, columns=list(MAIN_LEVERS)))["sparsity"]))
        [0.5, 0.9]
    """
    whole = core(frame)
    moved = [lever for lever in MAIN_LEVERS if lever in whole and whole[lever].dropna().nunique() > 1]
    kept = whole.dropna(subset=moved)
    while moved and len(kept):
        points = kept[moved].drop_duplicates()
        sizes = {lever: points[lever].nunique() for lever in moved}
        if len(points) == np.prod(list(sizes.values())):
            break
        shares = [
            (float((points[lever] == level).sum()) * sizes[lever], position, str(level), level)
            for position, lever in enumerate(moved)
            for level in points[lever].unique()
        ]
        _, position, _, level = min(shares, key=lambda share: share[:3])
        kept = kept[kept[moved[position]] != level]
    is_crossed = len(kept) > 0 and all(kept[lever].nunique() > 1 for lever in moved)
    return kept if is_crossed else whole
