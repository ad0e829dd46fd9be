"""What masks of rows, columns and blocks lose against masks of single entries, and the training time that they save."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from analysis import theme
from analysis.figures.figure import Figure, needs
from analysis.figures.forest import COLUMNS, draw_forest
from analysis.figures.words import cells_behind, counted, listed, percent, with_interval
from analysis.granularity import REFERENCE, RESPONSES, granularities
from analysis.records import Records

TIME = "train_time_ratio"
PANELS = {
    "id_score": "ID accuracy\n(% points)",
    "ood_score": "OOD accuracy\n(% points)",
    "diversity_score": "disagreement\n(% points)",
    TIME: "training time\n(element = 1)",
}


def table(records: Records) -> pd.DataFrame:
    """Differences to single entries in fractions, and training time as a multiple, one row a mark.

    Returns:
        Columns ``COLUMNS`` of :mod:`analysis.figures.forest`, with ``margin`` and ``is_kept`` of
        :func:`analysis.granularity.granularities`.
    """
    found = granularities(records)
    needs(len(found) > 0, "masked methods at two granularities, element among them", "run the study granularity")
    tested = found[found["granularity"].ne(REFERENCE)]
    many = tested["method"].nunique() > 1
    rows = []
    for position, ((method, granularity), group) in enumerate(tested.groupby(["method", "granularity"], sort=False)):
        name = f"{theme.look(str(method)).label}: {granularity}" if many else str(granularity)
        first = group.iloc[0]
        holes = f"\n({first['missing']} of {first['missing'] + first['paired_seeds']} seeds missing)"
        place = {"row": position, "label": name + (holes if first["missing"] else ""), "method": method}
        place |= {"is_beside": False, "margin": first["margin"], "seeds": first["paired_seeds"]}
        for line in group.to_dict("records"):
            rows.append({**place, "panel": line["response"], "estimate": line["difference"],
                         "low": line["difference_low"], "high": line["difference_high"], "cells": line["cells"],
                         "is_significant": line["is_significant"], "is_kept": line["is_kept"]})  # fmt: skip
        rows.append({**place, "panel": TIME, "estimate": first[TIME], "is_significant": True, "is_kept": False,
                     "cells": first["cells"]})  # fmt: skip
    return pd.DataFrame(rows, columns=[*COLUMNS, "margin", "is_kept"])


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws the responses and the time side by side; the band is the loss that was said not to matter."""
    title = f"What whole rows, columns and blocks cost: differences to masks of single entries ({REFERENCE})"
    panels = draw_forest(frame, figure, PANELS, title)
    for name in RESPONSES:
        panels[name].axvspan(-float(frame["margin"].iloc[0]), 0.0, color="#E6E6E6", zorder=0)
        panels[name].axvline(0.0, color="#333333", lw=0.9)
        panels[name].xaxis.set_major_formatter(theme.percent_ticks())
        kept = frame[frame["panel"].eq(name) & frame["is_kept"]]
        for line in kept.to_dict("records"):
            panels[name].text(line["estimate"], line["row"] - 0.16, "kept", ha="center", va="bottom", fontsize=6.5)
    panels[TIME].axvline(1.0, color="#333333", lw=0.9)
    panels[TIME].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    points = round(100 * float(frame["margin"].iloc[0]), 6)
    figure.legend(
        handles=[
            Line2D([], [], marker="o", ls="", ms=5, color="#333333", label="significant after Holm"),
            Line2D([], [], marker="o", ls="", ms=5, mfc="white", mec="#333333", label="not"),
            Line2D([], [], color="#333333", lw=1.2, label="95 % over seeds (Student's t)"),
            Line2D([], [], color="#E6E6E6", lw=6, label=f"loss of up to {points:g} point{'' if points == 1 else 's'}"),
        ],
        loc="outside lower left", ncols=4,
    )  # fmt: skip
    return list(panels.values())


def caption(frame: pd.DataFrame) -> str:
    """The differences with their intervals, what is kept and what is lost."""
    sentences = []
    for _, group in frame.groupby("row"):
        marks = {str(line["panel"]): line for line in group.to_dict("records")}
        found = [f"{_WORDS[name]} {with_interval(marks[name], 'estimate', 'low', 'high', signed=True)}"
                 + ("*" if marks[name]["is_significant"] else "") for name in RESPONSES]  # fmt: skip
        time = marks[TIME]["estimate"]
        pace = f", training time {time:.2f} times theirs" if pd.notna(time) else ""
        sentences.append(f"{str(group['label'].iloc[0]).splitlines()[0]}: {', '.join(found)}{pace}.")
    kept = frame[frame["is_kept"]]
    said = listed(
        f"{_WORDS[line['panel']]} by {str(line['label']).splitlines()[0]}" for line in kept.to_dict("records")
    )
    points = percent(float(frame["margin"].iloc[0]))
    seeds = counted(int(frame["seeds"].max()), "seed")
    return (
        f"Masks of whole units minus masks of single entries, in points, at equal learning rates and settings, {seeds} "
        f"paired. {' '.join(sentences)} Intervals are Student's t at 95 % over seeds; a star is significant after "
        f"Holm's correction over all of these. A loss of {points} points or more is rejected, after Holm, for "
        f"{said or 'none'}; what is neither starred nor kept is open. {counted(cells_behind(frame), 'cell')}."
    )


_WORDS = {"id_score": "ID", "ood_score": "OOD", "diversity_score": "disagreement of members"}

FIGURE = Figure("Masks of whole units against masks of single entries", table, draw, caption, (theme.WIDTH_INCHES, 2.6))
