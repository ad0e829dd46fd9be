"""Draws figures from records into a folder: PNG, SVG, caption, and the CSV behind each, all naming their records.

The same records give the same bytes with the same versions of the libraries: no date, no random identifier.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.text import Text

from analysis import theme
from analysis.design import PLACE
from analysis.figures import FIGURES, NothingToDraw
from analysis.figures.words import cells_behind, counted
from analysis.metric import ACCURACY, PRINTED, main_metric
from analysis.plain_names import plainly_named, shared_words
from analysis.printing import replace_file, to_csv
from analysis.records import Records
from analysis.shifts import only_corruptions

SHORT = 12
ENDINGS = (".png", ".svg", ".csv", ".md")


@dataclass(frozen=True)
class Drawn:
    """What became of one figure.

    Args:
        name: Name of the figure, with benchmark and backbone appended where the records hold several.
        files: PNG, SVG, CSV and caption; empty if it was skipped.
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
    wanted = wanted_figures(names)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    fingerprint = records.fingerprint()
    total = len(wanted) * max(len(_places(records)), 1)
    drawn: list[Drawn] = []
    for one in redrawn(records, wanted, (lambda name: progress(name, len(drawn), total)) if progress else None):
        if one.frame is None:
            drawn.append(Drawn(one.full_name, (), one.skipped))
        else:
            drawn.append(Drawn(one.full_name, draw_one(one, target / one.full_name, fingerprint)))
    if progress:
        progress("", total, total)
    return drawn


@dataclass(frozen=True)
class Redrawn:
    """The table behind one figure.

    Args:
        name: Name in ``FIGURES``.
        full_name: The same with benchmark and backbone appended where the records hold several.
        frame: The table, or None where there is nothing to draw.
        skipped: Why there is none.
        note: What all training adds, if anything.
        score: What the figure's "accuracy" is: of the benchmark's own metric the printed name.
        domains: What its OOD splits are: domains, or corruptions where there is no other shift.
    """

    name: str
    full_name: str
    frame: pd.DataFrame | None
    skipped: str = ""
    note: str = ""
    score: str = PRINTED[ACCURACY]
    domains: str = "domains"

    def said(self, text: str) -> str:
        """A text of the figure, with the metric's own name and that of the OOD splits."""
        plain = PRINTED[ACCURACY]
        text = text.replace("of the domains", f"of the {self.domains}")
        return text.replace(plain, self.score).replace(plain.capitalize(), self.score[0].upper() + self.score[1:])


def redrawn(records: Records, names: Sequence[str], progress: Callable[[str], None] | None = None) -> Iterator[Redrawn]:
    """The tables of these figures for each benchmark and backbone of the records, without drawing.

    Methods are named without what all training adds, see :func:`analysis.plain_names.plainly_named`.

    Args:
        records: Any records.
        names: Names in ``FIGURES``.
        progress: Called with a figure's full name before it.
    """
    found = _places(records)
    for name in names if not found else ():
        yield Redrawn(name, name, None, "the records hold no cell; run a study")
    for benchmark, backbone in found:
        given = records.where(benchmark=benchmark, backbone=backbone) if len(found) > 1 else records
        domains = "corruptions" if only_corruptions(given.metrics) else "domains"
        here, note, main = plainly_named(given), shared_words(given), PRINTED[main_metric(given)]
        for name in names:
            full_name = name if len(found) == 1 else f"{name}.{benchmark}.{backbone}"
            if progress:
                progress(full_name)
            try:
                score = main if FIGURES[name].is_of_main_metric else PRINTED[ACCURACY]
                yield Redrawn(name, full_name, FIGURES[name].table(here), "", note, score, domains)
            except NothingToDraw as reason:
                yield Redrawn(name, full_name, None, str(reason))


def wanted_figures(names: Sequence[str] | None) -> list[str]:
    """All figures' names, or these.

    Raises:
        ValueError: If a name is unknown.
    """
    wanted = list(FIGURES if names is None else names)
    if unknown := [name for name in wanted if name not in FIGURES]:
        raise ValueError(f"figures are {', '.join(FIGURES)}; got {', '.join(unknown)}")
    return wanted


def caption(one: Redrawn, fingerprint: str) -> str:
    """A figure's title and caption in Markdown, with the number of cells behind it and the records' hash."""
    assert one.frame is not None
    figure = FIGURES[one.name]
    cells = counted(cells_behind(one.frame), "cell")
    source = f"Drawn from {cells} of the records sha256:{fingerprint[:SHORT]}."
    said = one.said(f"**{figure.title}.** {figure.caption(one.frame)}")
    return " ".join(part for part in (said, one.note, source) if part) + "\n"


def _places(records: Records) -> list[list[str]]:
    return records.cells[PLACE].drop_duplicates().sort_values(PLACE).to_numpy().tolist()


def canvas(one: Redrawn) -> Canvas:
    """A figure as it is drawn, not yet laid out, with the metric's own name; within :func:`analysis.theme.style`."""
    assert one.frame is not None
    figure = Canvas(figsize=FIGURES[one.name].size, layout="constrained")
    FigureCanvasAgg(figure)
    FIGURES[one.name].draw(one.frame, figure)
    for label in figure.findobj(Text):
        label.set_text(one.said(label.get_text()))  # type: ignore[attr-defined]
    return figure


def draw_one(one: Redrawn, stem: Path, fingerprint: str) -> tuple[Path, ...]:
    """Draws one figure from its table and writes ``stem``.png, .svg, .csv and .md (the caption); returns the paths."""
    assert one.frame is not None
    source = f"records sha256:{fingerprint}"
    png, svg, csv, words = (stem.with_name(stem.name + ending) for ending in ENDINGS)
    with theme.style():
        figure = canvas(one)
        figure.get_layout_engine().set(rect=(0.0, 0.022, 1.0, 0.978))  # type: ignore[union-attr,call-arg]
        figure.text(0.995, 0.004, source[: len("records sha256:") + SHORT], ha="right", va="bottom", fontsize=5,
                    color=theme.FAINT)  # fmt: skip
        title = one.said(FIGURES[one.name].title)
        # A legend inside its axes changes no layout, and to find its best place again and again takes seconds.
        inner = [legend for axes in figure.axes if (legend := axes.get_legend()) is not None]
        for legend in inner:
            legend.set_in_layout(False)
        tags = {"Title": title, "Source": source, "Software": "gmixout"}
        replace_file(png, lambda path: figure.savefig(path, format="png", metadata=tags))
        # The same places in both files; to find them takes as long as to draw.
        figure.set_layout_engine("none")
        for legend in inner:
            corner = legend.axes.transAxes.inverted().transform(legend.get_window_extent().p0)
            legend.set_loc((float(corner[0]), float(corner[1])))
        tags = {"Title": title, "Source": source, "Creator": "gmixout", "Date": None}  # type: ignore[dict-item]
        replace_file(svg, lambda path: figure.savefig(path, format="svg", metadata=tags))
    to_csv(one.frame, csv, fingerprint)
    text = caption(one, fingerprint)
    replace_file(words, lambda path: path.write_text(text, encoding="utf-8", newline="\n"))
    return png, svg, csv, words
