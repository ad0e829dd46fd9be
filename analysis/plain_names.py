"""Where a study adds something to all training, say crops, its methods are named without it."""

from collections import Counter

import pandas as pd

from analysis import theme
from analysis.design import PLACE
from analysis.records import Records, remembered

UNTRAINED = ("pretrained", "several")
"""Families of methods that train nothing themselves, so that nothing is added to them."""

Additions = tuple[str, ...]


def shared_additions(methods: pd.Series) -> Additions:
    """What the training of a whole study adds: the additions with which most methods come, of equals the fewest.

    Args:
        methods: Names of methods, see :mod:`analysis.theme`, of one benchmark and backbone.

    Returns:
        The additions; none where any method that trains comes without.

    Example:
        >>> shared_additions(pd.Series(["zero_shot", "full+crop", "gmixout+crop", "gmixout+crop+randaugment"]))
        ('crop',)
        >>> shared_additions(pd.Series(["lora", "full+crop", "gmixout+crop"]))
        ()
    """
    known = {theme.name_parts(str(name)) for name in methods.unique() if theme.look(str(name)).family not in UNTRAINED}
    if not known or not all(additions for _, _, additions in known):
        return ()
    votes = Counter(additions for _, additions in {(base, additions) for base, _, additions in known})
    return min(votes, key=lambda one: (-votes[one], len(one), one))


def plain_name(method: str, shared: Additions) -> str:
    """A method's name without what all training adds; what it lacks of that is told instead.

    Example:
        >>> [plain_name(name, ("crop", "flip")) for name in ("full+crop+flip", "full+crop+flip+mixup", "flyp+crop")]
        ['full', 'full+mixup', 'flyp+no_flip']
    """
    if not shared or theme.look(method).family in UNTRAINED:
        return method
    name, *additions = method.split("+")
    own = [one for one in additions if one not in shared]
    return "+".join([name, *own, *(f"{theme.WITHOUT}{one}" for one in shared if one not in additions)])


@remembered
def plainly_named(records: Records) -> Records:
    """The records with the methods of each benchmark and backbone named without what all training there adds.

    So the reference points are found again (``full``, ``mixout``, ``gmixout``), and methods have the same names on
    benchmarks with crops of their own. Numbers, cells and settings stay what they are, but not the fingerprint: ask it
    of the records as they were read.

    Returns:
        The same object where nothing is added to all training.
    """
    cells = records.cells
    names = cells["method"].astype(object)
    for _, place in cells.groupby(PLACE):
        if shared := shared_additions(place["method"]):
            names.loc[place.index] = [plain_name(str(name), shared) for name in place["method"]]
    if names.equals(cells["method"].astype(object)):
        return records
    renamed = cells.assign(method=names.astype("string"))
    return Records.trusted(renamed, records.metrics, records.examples, records.curves)


def shared_words(records: Records) -> str:
    """A sentence that tells what all training adds, benchmark by benchmark; empty where nothing is.

    Args:
        records: As they were read, with the methods' full names.
    """
    said: dict[str, list[str]] = {}
    for (benchmark, _), place in records.cells.groupby(PLACE):
        if shared := shared_additions(place["method"]):
            words = ", ".join(theme.ADDITIONS.get(one, one.replace("_", " ")) for one in shared)
            said.setdefault(words, [])
            if benchmark not in said[words]:
                said[words].append(str(benchmark))
    if not said:
        return ""
    is_one = records.cells["benchmark"].nunique() == 1
    parts = [words if is_one else f"{words} on {', '.join(places)}" for words, places in said.items()]
    return f"All training is with {'; '.join(parts)}, unless a method says otherwise."
