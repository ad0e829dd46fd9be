"""Draws figures from records into a folder: PNG, SVG and the CSV behind each, all naming the records they show.

The same records give the same bytes with the same versions of the libraries: no date, no random identifier.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from analysis import theme
from analysis.design import PLACE
from analysis.figures import FIGURES, NothingToDraw
from analysis.printing import replace_file, to_csv
from analysis.records import Records

SHORT = 12


@dataclass(frozen=True)
class Drawn:
    """What became of one figure.

    Args:
        name: Name of the figure, with benchmark and backbone appended where the records hold several.
        files: PNG, SVG and CSV; empty if it was skipped.
        skipped: Why there is no figure; empty if there is one.
    """

    name: str
    files: tuple[Path, ...]
    skipped: str = ""


def draw_all(
    records: Records,
    folder: str | os.PathLike[str],
    names: Sequence[str] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Drawn]:
    """Draws all figures, or the named ones, for each benchmark and backbone of the records.

    Args:
        records: Any records.
        folder: Where the files go; made if missing.
        names: Names in ``FIGURES``; by default all.
        progress: Called with (name, done, total) before each figure and once at the end.

    Returns:
        One entry a figure, drawn or skipped with the reason.

    Raises:
        ValueError: If a name is unknown.
    """
    wanted = list(FIGURES if names is None else names)
    unknown = [name for name in wanted if name not in FIGURES]
    if unknown:
        raise ValueError(f"figures are {', '.join(FIGURES)}; got {', '.join(unknown)}")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    fingerprint = records.fingerprint()
    places = records.cells[PLACE].drop_duplicates().sort_values(PLACE).to_numpy().tolist()
    if not places:
        return [Drawn(name, (), "the records hold no cell; run a study") for name in wanted]
    drawn: list[Drawn] = []
    total = len(places) * len(wanted)
    for benchmark, backbone in places:
        here = records.where(benchmark=benchmark, backbone=backbone)
        for name in wanted:
            full_name = name if len(places) == 1 else f"{name}.{benchmark}.{backbone}"
            if progress:
                progress(full_name, len(drawn), total)
            try:
                frame = FIGURES[name].table(here)
            except NothingToDraw as reason:
                drawn.append(Drawn(full_name, (), str(reason)))
                continue
            drawn.append(Drawn(full_name, draw_one(name, frame, target / full_name, fingerprint)))
    if progress:
        progress("", total, total)
    return drawn


def draw_one(name: str, frame: pd.DataFrame, stem: Path, fingerprint: str) -> tuple[Path, ...]:
    """Draws one figure from its table and writes ``stem``.png, .svg and .csv; returns the three paths."""
    source = f"records sha256:{fingerprint}"
    png, svg, csv = (stem.with_name(stem.name + ending) for ending in (".png", ".svg", ".csv"))
    with theme.style():
        figure = Canvas(figsize=FIGURES[name].size, layout="constrained")
        FigureCanvasAgg(figure)
        FIGURES[name].draw(frame, figure)
        figure.get_layout_engine().set(rect=(0.0, 0.022, 1.0, 0.978))  # type: ignore[union-attr,call-arg]
        figure.text(0.995, 0.004, source[: len("records sha256:") + SHORT], ha="right", va="bottom", fontsize=5,
                    color=theme.FAINT)  # fmt: skip
        title = FIGURES[name].title
        tags = {"Title": title, "Source": source, "Software": "gmixout"}
        replace_file(png, lambda path: figure.savefig(path, format="png", metadata=tags))
        tags = {"Title": title, "Source": source, "Creator": "gmixout", "Date": None}  # type: ignore[dict-item]
        replace_file(svg, lambda path: figure.savefig(path, format="svg", metadata=tags))
    to_csv(frame, csv, fingerprint)
    return png, svg, csv
