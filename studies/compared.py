"""Two results of one cell, number by number."""

import pandas as pd

from analysis.records import KEYS, Records

_KEY = [name for name in KEYS["metrics"] if name != "cell"]


def differences(one: Records, other: Records) -> pd.DataFrame:
    """Every number that two results of a cell have different, the largest difference first.

    Args:
        one: Records of the cell alone.
        other: Records of the same cell from another run.

    Returns:
        Columns ``weights``, ``alpha``, ``member``, ``split``, ``metric``, ``one``, ``other``, ``difference``
        (``other - one``; NaN where the other run lacks the number); no rows where all are equal. What only the other
        has is no difference: later versions measure more.

    Example:
        >>> len(differences(Records.empty(), Records.empty()))
        0
    """
    sides = [
        side.metrics[[*_KEY, "value"]].rename(columns={"value": name})
        for side, name in ((one, "one"), (other, "other"))
    ]
    both = sides[0].merge(sides[1], on=_KEY, how="left")
    is_equal = both["one"].eq(both["other"]) | (both["one"].isna() & both["other"].isna())
    found = both[~is_equal].assign(difference=lambda frame: frame["other"] - frame["one"])
    return found.sort_values("difference", key=lambda values: -values.abs(), na_position="first").reset_index(drop=True)


def largest(found: pd.DataFrame) -> str:
    """The largest difference in accuracy in words; of all numbers where accuracies agree.

    Args:
        found: From :func:`differences`.

    Example:
        >>> largest(differences(Records.empty(), Records.empty()))
        'no number differs'
    """
    if found.empty:
        return "no number differs"
    accuracies = found[found["metric"].eq("accuracy_score")]
    row = (accuracies if len(accuracies) else found).iloc[0]
    where = f" on {row['split']}" if row["split"] else ""
    return f"{row['metric']} of {row['weights']}{where} is {row['one']:.6g} and {row['other']:.6g}"
