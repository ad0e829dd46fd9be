"""Draws the stored CSVs, and nothing else: step times, memory, growth and kernels of every measured device.

python benchmarks/figures.py [--results DIR] [--out DIR]
"""

import argparse
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence

if not __package__:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator, NullLocator

from analysis import theme
from benchmarks import stored

# Colours of Okabe and Ito, by the beginning of a rival's name; the first that fits.
_COLORS = {
    "full": "#D55E00",
    "floor": "#999999",
    "lora": "#E69F00",
    "shira": "#E69F00",
    "spops": "#E69F00",
    "mixout_naive": "#CC79A7",
    "mixout": "#009E73",
    "element": "#56B4E9",
    "": "#0072B2",
}
_LINES = {"full": "-", "floor": (0, (1, 1)), "element": "-", "row": "--", "column": "-"}
_MARKERS = {"full": None, "floor": None, "element": "o", "row": "s", "column": "^"}
_GROWTH_COLORS = {"row": "#009E73"}
_AXES = {"width": "width (features)", "depth": "depth (blocks)", "batch": "batch size", "density": "density q"}
_MEMORY = {"state_ratio": "state", "saved_ratio": "saved for backward", "peak_ratio": "peak of a step"}
_WORK_MARKERS = {"element": "o", "row": "s", "column": "^", "16": "v", "block": "D"}
_KINDS = (*_WORK_MARKERS, "dense")
_BAR_INCHES = 0.2
_LOOKS = {
    "overhead": "overhead a cell",
    "status": "status of {cells:,} cells",
    "records": "records of {cells:,} cells",
    "figures": "all figures of {cells:,} cells",
}


def main(arguments: Sequence[str] | None = None) -> list[pathlib.Path]:
    """Draws everything that was measured; says so if there is nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=pathlib.Path, default=stored.RESULTS, help="directory of the CSVs")
    parser.add_argument("--out", type=pathlib.Path, default=stored.FIGURES, help="directory of the figures")
    options = parser.parse_args(arguments)
    paths = []
    with theme.style():
        for question, draw in FIGURES.items():
            for slug, table in stored.read(question, options.results).items():
                for name, figure in draw(table):
                    options.out.mkdir(parents=True, exist_ok=True)
                    paths.append(options.out / "-".join(filter(None, (question, slug, name))))
                    paths[-1] = paths[-1].with_name(paths[-1].name + ".png")
                    _sign(figure, table)
                    figure.savefig(paths[-1])
    where = f"in {options.out}" if paths else f"since {options.results} holds no CSV: run python -m benchmarks first"
    print(f"[figures] {len(paths)} figures {where}")
    return paths


def draw_step_time(table: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    """Bars of the ratio to full fine-tuning with quartiles: a figure a network and mode, a panel a batch size."""
    for (backbone, mode), rows in table.groupby(["backbone", "mode"], sort=False):
        batches, labels = sorted(rows["batch"].unique()), _labels(rows)
        figure, axes = _panels(len(batches), len(labels))
        for ax, batch in zip(axes, batches, strict=True):
            draw_bars(ax, rows[rows["batch"] == batch], "ratio", labels, _room(rows["ratio_q75"]))
            ax.set_title(f"batch {batch}")
        _entitle(figure, f"{backbone}, {mode}: step time / full fine-tuning")
        yield f"{backbone}-{mode}", figure


def draw_memory(table: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    """Bars of state, saved activations and peak, as ratios to full fine-tuning: one figure a network and batch size."""
    for (backbone, batch), rows in table.groupby(["backbone", "batch"], sort=False):
        labels = _labels(rows)
        figure, axes = _panels(len(_MEMORY), len(labels))
        full = rows[rows["rival"] == "full"].iloc[0]
        for ax, (column, title) in zip(axes, _MEMORY.items(), strict=True):
            draw_bars(ax, rows, column, labels, _room(rows[list(_MEMORY)]))
            ax.set_title(f"{title}\n1 = {_megabytes(full[column.replace('ratio', 'mb')])}")
        _entitle(figure, f"{backbone}, batch {batch}: bytes / full fine-tuning")
        yield f"{backbone}-batch-{batch}", figure


def draw_bars(ax: Axes, rows: pd.DataFrame, column: str, labels: Sequence[str], limit: float) -> Axes:
    """A horizontal bar for every rival, in the order of ``labels``, with its value and, if there are any, quartiles."""
    rows = rows.set_index("label").reindex(labels).reset_index()
    places = np.arange(len(labels))
    colors = [_color(str(name)) for name in rows["rival"].fillna("")]
    ax.barh(places, rows[column], color=colors, height=0.72)
    ends = rows[column]
    if f"{column}_q25" in rows:
        ends = rows[f"{column}_q75"]
        spread = [rows[column] - rows[f"{column}_q25"], rows[f"{column}_q75"] - rows[column]]
        ax.errorbar(rows[column], places, xerr=spread, fmt="none", ecolor="black", elinewidth=0.9, capsize=1.8)
    for place, value, end in zip(places, rows[column], ends, strict=True):
        if np.isfinite(value):
            ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
            ax.text(end + 0.02 * limit, place, f"{value:.2f}", va="center", fontsize=7, bbox=ground)
    ax.axvline(1.0, color="black", linewidth=0.7, linestyle=(0, (3, 2)), zorder=0.9)
    ax.xaxis.set_major_locator(MultipleLocator(0.5 if limit < 4.0 else 1.0))
    ax.set_xlim(0.0, limit)
    ax.set_yticks(places, labels)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    return ax


def draw_scaling(table: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    """The ratio along each axis with bands between its quartiles."""
    axes_found = [axis for axis in _AXES if axis in set(table["axis"])]
    figure = Figure(figsize=(theme.WIDTH_INCHES, 2.7), layout="constrained")
    panels = figure.subplots(1, len(axes_found), sharey=True, squeeze=False)[0]
    for ax, axis in zip(panels, axes_found, strict=True):
        draw_growth(ax, table[table["axis"] == axis])
        ax.set_xlabel(_AXES[axis])
    panels[0].set_ylabel("step time / full fine-tuning")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    figure.supxlabel(f"all but one: {_common(table)}; ")
    yield "", figure


def _common(table: pd.DataFrame) -> str:
    """The point that all axes share: what each holds along the others."""
    values = {axis: table.loc[table["axis"] != axis, axis] for axis in _AXES}
    return ", ".join(f"{axis} {held.iloc[0]:g}" for axis, held in values.items() if len(held))


def draw_growth(ax: Axes, rows: pd.DataFrame) -> Axes:
    """A line for every rival over one axis's values."""
    for rival, of_rival in rows.groupby("rival", sort=False):
        name, of_rival = str(rival), of_rival.sort_values("value")
        color = _GROWTH_COLORS.get(name, _color(name))
        label = str(of_rival["label"].iloc[0])
        ax.fill_between(
            of_rival["value"], of_rival["ratio_q25"], of_rival["ratio_q75"], color=color, alpha=0.2, linewidth=0
        )
        ax.plot(
            of_rival["value"], of_rival["ratio"], color=color, label=label, linestyle=_LINES.get(name, "-"),
            marker=_MARKERS.get(name),
        )  # fmt: skip
    values = sorted(rows["value"].unique())
    ax.set_xscale("log")
    ax.set_xticks(values, [f"{value:g}".removeprefix("0") for value in values])
    ax.xaxis.set_minor_locator(NullLocator())
    return ax


def draw_kernels(table: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    """Points of each operator's share of the measured peak: a panel for Triton and one for torch."""
    rows = kernel_rows(table)
    kinds = [kind for kind in ("triton", "torch") if kind in set(rows["implementation"])]
    names = list(dict.fromkeys(rows["row"]))
    size = (theme.WIDTH_INCHES if len(kinds) > 1 else 5.4, 0.3 * len(names) + 1.0)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for ax, kind in zip(panels, kinds, strict=True):
        draw_shares(ax, rows[rows["implementation"] == kind], names)
        ax.set_title({"triton": "Triton", "torch": "torch"}[kind])
        ax.set_xlabel("share of the measured peak (%)")
    figure.legend(handles=_work_handles(rows), loc="outside right upper")
    yield "", figure


def kernel_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The kernels' rows with ``row`` (name and what bounds it), ``kind`` and ``is_few`` of what each works on."""
    rows = table[~table["kernel"].str.startswith("peak")].copy()
    halves = rows["work"].str.endswith(", hilo").map({True: ", hilo", False: ""})
    bound = rows.groupby("kernel")["bound"].transform("first")
    rows["row"] = rows["kernel"].replace({"adamw": "AdamW"}).str.replace("_", " ") + halves + " (" + bound + ")"
    head = rows["work"].str.split(",").str[0]
    rows["kind"] = head.str.split().str[0].where(head.str.contains("%"), "dense")
    rows["is_few"] = head.str.endswith(" 2 %")
    return rows


def draw_shares(ax: Axes, rows: pd.DataFrame, names: Sequence[str]) -> Axes:
    """A mark for every operator and what it works on, in the row of its name."""
    kinds = {name: [k for k in _KINDS if k in set(of_name["kind"])] for name, of_name in rows.groupby("row")}
    for row in rows.itertuples():
        marker = _WORK_MARKERS.get(row.kind, "P")
        color = "#D55E00" if row.kind == "dense" else "#0072B2"
        face = "white" if row.is_few else color
        # Marks of one row stand a little apart where their shares agree.
        shift = kinds[row.row].index(row.kind) - (len(kinds[row.row]) - 1) / 2
        place = names.index(row.row) + 0.12 * shift
        ax.plot(100 * row.peak_share, place, marker, color=color, markerfacecolor=face, markersize=5.5, alpha=0.85)
    ax.axvline(100.0, color="black", linewidth=0.7, linestyle=(0, (3, 2)), zorder=0.9)
    ax.set_xlim(-3.0, max(108.0, 108.0 * rows["peak_share"].max()))
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    return ax


def _work_handles(rows: pd.DataFrame) -> list[Line2D]:
    words = {"element": "element", "row": "row", "column": "column", "16": "16 columns", "block": "block 64"}
    shown = [kind for kind in words if kind in set(rows["kind"])]
    handles = [
        Line2D([], [], marker=_WORK_MARKERS[kind], linestyle="", color="#0072B2", label=f"{words[kind]}, 10 %")
        for kind in shown
    ]
    if rows["is_few"].any():
        handles.append(
            Line2D([], [], marker="o", linestyle="", color="#0072B2", markerfacecolor="white", label="hollow: 2 %")
        )
    if (rows["kind"] == "dense").any():
        handles.append(Line2D([], [], marker="P", linestyle="", color="#D55E00", label="all entries"))
    return handles


def draw_runner(table: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    """Makespan over the ideal by number of workers; how long looking at many cells takes, over its limit."""
    figure = Figure(figsize=(theme.WIDTH_INCHES, 2.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    rows = table[table["case"] == "makespan"].sort_values("workers")
    left.plot(rows["workers"], rows["ratio"], color="#0072B2", marker="o")
    left.axhline(1.0, color="black", linewidth=0.7, linestyle=(0, (3, 2)), zorder=0.9)
    left.set_xscale("log", base=2)
    left.set_xticks(rows["workers"], [str(count) for count in rows["workers"]])
    left.set_ylim(0.0, 1.1 * max([1.5, *rows["ratio"]]))
    left.set_xlabel("workers, four cells of 2 s each")
    left.set_ylabel("makespan / ideal")
    looks = table[table["case"].isin(["overhead", "status", "records", "figures"])].copy()
    # The overhead's limit is 1 % of a cell.
    looks["ratio"] = looks["ratio"].where(looks["case"] != "overhead", looks["ratio"] / 0.01)
    places = np.arange(len(looks))
    right.barh(places, looks["ratio"], color="#0072B2", height=0.6)
    room = _room(pd.concat([looks["ratio"], pd.Series([1.0])]))
    for place, ratio, seconds in zip(places, looks["ratio"], looks["wall_s"], strict=True):
        # A number stands off the dashed line of the limit.
        beside = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
        right.text(ratio + 0.02 * room, place, f"{seconds:.3g} s", va="center", fontsize=7, bbox=beside)
    right.axvline(1.0, color="black", linewidth=0.7, linestyle=(0, (3, 2)), zorder=0.9)
    right.set_xlim(0.0, room)
    right.set_yticks(places, [_LOOKS[case].format(cells=count) for case, count in zip(looks["case"], looks["cells"])])
    right.set_ylim(len(looks) - 0.4, -0.6)
    right.set_xlabel("time / its limit")
    right.grid(visible=False, axis="y")
    yield "", figure


def _panels(number: int, bars: int) -> tuple[Figure, Sequence[Axes]]:
    width = 4.4 if number == 1 else theme.WIDTH_INCHES
    figure = Figure(figsize=(width, _BAR_INCHES * bars + 1.0), layout="constrained")
    return figure, figure.subplots(1, number, sharey=True, squeeze=False)[0]


def _room(values: pd.Series | pd.DataFrame) -> float:
    """The end of an axis that leaves room for numbers beside the longest bar."""
    return 1.3 * float(np.nanmax(values.to_numpy()))


def _entitle(figure: Figure, text: str) -> None:
    figure.suptitle(text, x=0.01, ha="left", fontsize=9.5)


def _labels(rows: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(rows["label"]))


def _color(rival: str) -> str:
    return next(color for start, color in _COLORS.items() if rival.startswith(start))


def _megabytes(value: float) -> str:
    return f"{value / 1e3:.1f} GB" if value >= 1e3 else f"{value:.3g} MB"


def _sign(figure: Figure, table: pd.DataFrame) -> None:
    """Says where and when it was measured, below the drawing, after what stands there."""
    row = table.iloc[0]
    text = f"{row['device']}, torch {str(row['torch']).split('+')[0]}, {row['date']}"
    figure.supxlabel(figure.get_supxlabel() + text, fontsize=6.5, color="#666666", x=0.995, ha="right")


FIGURES: dict[str, Callable[[pd.DataFrame], Iterator[tuple[str, Figure]]]] = {
    "step_time": draw_step_time,
    "memory": draw_memory,
    "scaling": draw_scaling,
    "kernels": draw_kernels,
    "runner": draw_runner,
}

if __name__ == "__main__":
    mpl.use("agg")
    main()
