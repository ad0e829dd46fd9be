"""Frames to text: tables with printed names and percent, as Markdown; any frame as CSV with its source.

The frames hold fractions; percent appears in printed cells alone, and their headings say so.
"""

import os
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from analysis import theme

MISSING = "—"
_SUMMARY_HEADINGS: Mapping[str, str] = MappingProxyType(
    {
        "id_score": "ID (%)",
        "ood_score": "OOD (%)",
        "worst_domain_score": "worst domain (%)",
        "corruption_score": "corruption (%)",
        "gap_error": "ID − OOD (points)",
        "diversity_score": "diversity (%)",
        "many_score": "many (%)",
        "medium_score": "medium (%)",
        "few_score": "few (%)",
        "id_difference": "ID − full (points)",
        "ood_difference": "OOD − full (points)",
    }
)
_COST_HEADINGS: Mapping[str, str] = MappingProxyType(
    {
        "trained_per_episode": "trained per episode",
        "touched_over_run": "touched",
        "total_parameters": "parameters",
        "stored_floats": "numbers stored",
        "training_flops": "training operations",
        "training_steps": "training steps",
        "train_time_s": "training (s)",
        "inference_passes": "forward passes",
    }
)
MEMBER_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "reported": "reported",
        "member": "mean member",
        "ensemble": "ensemble of members",
        "fresh_member": "mean fresh member",
        "fresh_ensemble": "ensemble of fresh members",
    }
)
_MEMBER_HEADINGS: Mapping[str, str] = MappingProxyType(
    {
        "id_score": "ID (%)",
        "ood_score": "OOD (%)",
        "id_difference": "ID − reported (points)",
        "ood_difference": "OOD − reported (points)",
    }
)


def printed_summary(summary: pd.DataFrame, digits: int = 1) -> pd.DataFrame:
    """The rows of :func:`analysis.tables.summary` as text under printed headings.

    Scores read ``estimate [low, high]`` in percent; what is not known reads as a dash; missing and diverged seeds are
    spelled out. Columns without a single number are left out.

    Args:
        summary: Frame of :func:`analysis.tables.summary`.
        digits: Decimals of a percent.
    """
    rows = []
    for row in summary.to_dict("records"):
        is_wise = row["weights"] == "wise"
        label = theme.look(str(row["method"])).label + (f" + WiSE-FT α={row['alpha']:.1f}" if is_wise else "")
        text = {"method": label, "seeds": seeds_text(row), "learning rate": number_text(row["learning_rate"], "{:g}")}
        for name, heading in _SUMMARY_HEADINGS.items():
            text[heading] = interval_text(row[name], row[f"{name}_low"], row[f"{name}_high"], digits)
        text["trained per episode"] = number_text(row["trained_per_episode"], "{:,.0f}")
        text["touched"] = number_text(row["touched_over_run"], "{:,.0f}")
        rows.append(text)
    frame = pd.DataFrame(rows)
    empty = [name for name in frame.columns if name in _SUMMARY_HEADINGS.values() and frame[name].eq(MISSING).all()]
    return frame.drop(columns=empty)


def printed_effects(effects: pd.DataFrame, digits: int = 2) -> pd.DataFrame:
    """The rows of :func:`analysis.tables.lever_effects` as text: one row a contrast, one column a response.

    Effects read ``estimate [low, high]`` in points; a star marks an interval that excludes zero, a dagger what is
    significant after Holm's correction.
    """
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for row in effects.to_dict("records"):
        change = f"{theme.level_name(row['from_level'])} → {theme.level_name(row['to_level'])}"
        text = rows.setdefault(
            (row["benchmark"], row["backbone"], row["lever"], change),
            {"lever": theme.lever_label(str(row["lever"])), "change": change, "pairs": str(row["pairs"])},
        )
        star = (" *" if row["excludes_zero"] else "") + (" †" if row["is_significant"] else "")
        heading = theme.score_label(str(row["response"]), " (points)")
        text[heading] = interval_text(row["effect"], row["low"], row["high"], digits, signed=True) + star
    return pd.DataFrame(list(rows.values())).fillna(MISSING)


def printed_comparisons(comparisons: pd.DataFrame, digits: int = 1) -> pd.DataFrame:
    """The rows of :func:`analysis.comparisons.compare` as text: one row a method, one column a reference and score.

    Differences read ``estimate [low, high]`` in points; a star marks significance after Holm's correction. Missing and
    diverged seeds of the method are spelled out, and the number of pairs where a run has no partner.

    Args:
        comparisons: Frame of :func:`analysis.comparisons.compare`.
        digits: Decimals of a point.
    """
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for row in comparisons.to_dict("records"):
        is_wise = row["weights"] == "wise"
        label = theme.look(str(row["method"])).label + (f" + WiSE-FT α={row['alpha']:.1f}" if is_wise else "")
        text = rows.setdefault(
            (row["benchmark"], row["backbone"], row["method"], row["weights"]),
            {"benchmark": row["benchmark"], "backbone": row["backbone"], "method": label, "seeds": seeds_text(row)},
        )
        score = theme.score_label(str(row["score"]), "").removesuffix(" accuracy")
        heading = f"{score} − {theme.look(str(row['reference'])).label} (points)"
        ends = row["difference"], row["difference_low"], row["difference_high"]
        pairs = f" ({row['paired_seeds']} paired)" if row["unpaired_seeds"] and row["paired_seeds"] else ""
        text[heading] = interval_text(*ends, digits, signed=True) + (" *" if row["is_significant"] else "") + pairs
    return one_place(pd.DataFrame(list(rows.values())).fillna(MISSING))


def printed_costs(costs: pd.DataFrame) -> pd.DataFrame:
    """The rows of :func:`analysis.tables.costs` as text; training also in multiples of full fine-tuning's."""
    rows = []
    for row in costs.to_dict("records"):
        text = {"benchmark": row["benchmark"], "backbone": row["backbone"]}
        text |= {
            "method": theme.look(str(row["method"])).label,
            "seeds": seeds_text(row),
            "tried": f"{row['candidates']}",
        }
        for name, heading in _COST_HEADINGS.items():
            form = {"training_flops": "{:.3g}", "train_time_s": "{:,.1f}"}.get(name, "{:,.0f}")
            text[heading] = number_text(row[name], form)
            if name == "training_flops":
                text["full = 1"] = number_text(row["training_flops_ratio"], "{:.2f}")
        rows.append(text)
    return one_place(pd.DataFrame(rows))


def printed_implicit_ensembles(ensembles: pd.DataFrame, digits: int = 1) -> pd.DataFrame:
    """The rows of :func:`analysis.tables.implicit_ensembles` as text, one row a method and kind of weights.

    Args:
        ensembles: Frame of :func:`analysis.tables.implicit_ensembles`.
        digits: Decimals of a percent.
    """
    rows = []
    for row in ensembles.to_dict("records"):
        text = {"benchmark": row["benchmark"], "backbone": row["backbone"]}
        text |= {"method": theme.look(str(row["method"])).label, "weights": MEMBER_LABELS[str(row["weights"])]}
        text |= {"seeds": seeds_text(row), "forward passes": number_text(row["inference_passes"], "{:.0f}")}
        text["training steps"] = number_text(row["training_steps"], "{:,.0f}")
        for name, heading in _MEMBER_HEADINGS.items():
            ends = row[name], row[f"{name}_low"], row[f"{name}_high"]
            text[heading] = interval_text(*ends, digits, signed=name.endswith("difference"))
        text["diversity, OOD (%)"] = interval_text(row["diversity_score"], float("nan"), float("nan"), digits)
        rows.append(text)
    return one_place(pd.DataFrame(rows))


def interval_text(estimate: float, low: float, high: float, digits: int = 1, signed: bool = False) -> str:
    """A fraction with its interval as percent.

    Example:
        >>> interval_text(0.631, 0.619, 0.644)
        '63.1 [61.9, 64.4]'
        >>> interval_text(0.631, float("nan"), float("nan"))
        '63.1'
    """
    if np.isnan(estimate):
        return MISSING
    form = f"{{:{'+' if signed else ''}.{digits}f}}"
    text = form.format(100 * estimate)
    return text if np.isnan(low) else f"{text} [{form.format(100 * low)}, {form.format(100 * high)}]"


def to_markdown(frame: pd.DataFrame, note: str = "") -> str:
    """A frame of text as a Markdown table, ending in a newline; below it a note, if there is one.

    Example:
        >>> print(to_markdown(pd.DataFrame({"a": ["1"]})), end="")
        | a |
        | --- |
        | 1 |
    """
    lines = [list(map(str, frame.columns)), ["---"] * frame.shape[1], *frame.astype(str).to_numpy().tolist()]
    table = "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
    return table + (f"\n{note}\n" if note else "")


def to_csv(frame: pd.DataFrame, path: str | os.PathLike[str], fingerprint: str) -> None:
    """Writes :func:`csv_text` as one whole file.

    Raises:
        OSError: If the file cannot be written; a temporary file is removed.
    """
    text = csv_text(frame, fingerprint)
    replace_file(Path(path), lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


def csv_text(frame: pd.DataFrame, fingerprint: str) -> str:
    """A frame as CSV (fractions, full precision) whose first line names the records it was drawn from.

    Read it back with ``pandas.read_csv(path, comment="#")``. Tuples (cells) are joined by semicolons.

    Example:
        >>> print(csv_text(pd.DataFrame({"score": [0.5], "cells": [("3f9c", "a01e")]}), "66ad"), end="")
        # records sha256:66ad
        score,cells
        0.5,3f9c;a01e
    """
    plain = frame.copy()
    for name in plain.columns:
        if plain[name].dtype == object:
            plain[name] = [";".join(map(str, value)) if isinstance(value, tuple) else value for value in plain[name]]
    return f"# records sha256:{fingerprint}\n" + plain.to_csv(index=False, lineterminator="\n")


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Lets ``write`` fill a temporary file beside ``path``, then renames it: never half a file."""
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def one_place(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame without benchmark and backbone where there is only one of each."""
    names = ["benchmark", "backbone"]
    is_one = frame.empty or len(frame[names].drop_duplicates()) == 1
    return frame.drop(columns=names, errors="ignore") if is_one else frame


def seeds_text(row: Mapping[Hashable, Any]) -> str:
    """Seeds with a number, and in words those that are missing or diverged."""
    notes = [f"{row[name]} {name}" for name in ("missing", "diverged") if row[name]]
    return f"{row['seeds']}" + (f" ({', '.join(notes)})" if notes else "")


def number_text(value: float, form: str) -> str:
    """A number in a format, a dash where there is none."""
    return MISSING if np.isnan(value) else form.format(value)
