"""A study as one self-contained HTML page: findings with their tests, figures, tables, settings, provenance.

Nothing is loaded from anywhere: pictures and the numbers behind them are inside the page, there is no script, and the
page itself forbids both to the browser.
"""

import base64
import html
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis import theme
from analysis.design import PLACE, with_setting
from analysis.figures.render import SHORT, draw_all
from analysis.figures.words import counted
from analysis.findings import Finding, findings
from analysis.outcomes import places
from analysis.plain_names import plainly_named, shared_words
from analysis.records import Records

_STYLE = """
:root { color-scheme: light; --ink: #1c1c1c; --faint: #6a6a6a; --line: #dddddd; --ours: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 4rem; color: var(--ink); background: #ffffff;
  overflow-wrap: anywhere;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .8rem; border-bottom: 2px solid var(--line); padding-bottom: .2rem; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
nav a { margin-right: 1rem; }
a { color: var(--ours); }
.faint, figcaption, .test { color: var(--faint); font-size: .86rem; }
.finding { border-left: 4px solid var(--line); padding: .1rem 0 .1rem .9rem; margin: 0 0 1rem; }
.finding.significant { border-left-color: var(--ours); }
.finding p { margin: .15rem 0; }
.finding .topic { font-weight: 600; }
figure { margin: 1rem 0 2.2rem; }
figure img { width: 100%; height: auto; border: 1px solid var(--line); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .8rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .55rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
.facts { width: 100%; table-layout: fixed; }
.facts th { width: 11rem; }
.facts th, .facts td { white-space: normal; vertical-align: top; }
th { position: sticky; top: 0; background: #ffffff; }
pre { overflow-x: auto; background: #f6f6f6; padding: .8rem; font-size: .8rem; }
summary { cursor: pointer; margin: .5rem 0; }
@media print { details > * { display: block; } nav { display: none; } }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def report(
    records: Records,
    title: str,
    tables: Mapping[str, pd.DataFrame],
    settings: str = "",
    command: str = "",
    names: Sequence[str] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> str:
    """The page as text.

    Args:
        records: Any records with at least one cell.
        title: The study's name.
        tables: Printed tables by name, frames of text; empty ones are left out.
        settings: The study's file, if there is one.
        command: What makes this page again.
        names: Figures by name; by default all.
        progress: As for :func:`analysis.figures.render.draw_all`.

    Raises:
        ValueError: If the records hold no cell, or a figure's name is unknown.
    """
    if records.cells.empty:
        raise ValueError("a report needs records with at least one cell; run a study first")
    sections = {
        "Findings": _findings(records),
        "Figures": _figures(records, names, progress),
        "Tables": _tables(tables),
        "What was run": _design(records)
        + (f"<h3>The study's file</h3><pre>{_text(settings)}</pre>" if settings else ""),
        "Provenance": _provenance(records, command),
    }
    links = "".join(f'<a href="#{_anchor(name)}">{_text(name)}</a>' for name in sections)
    body = "".join(f'<section id="{_anchor(name)}"><h2>{_text(name)}</h2>{content}</section>\n'
                   for name, content in sections.items())  # fmt: skip
    done = int(records.cells["status"].eq("done").sum())
    fingerprint = records.fingerprint()[:SHORT]
    about = f"{done} of {counted(len(records.cells), 'cell')} done; records sha256:{fingerprint}"
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="generator" content="gmixout report">\n<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n'
        f"</head>\n<body>\n<header><h1>{_text(title)}</h1>\n"
        f'<p class="faint">{_text(about)}</p>\n<nav>{links}</nav></header>\n<main>\n{body}</main>\n</body>\n</html>\n'
    )


def _findings(records: Records) -> str:
    parts = ['<p class="faint">Every choice was made on ID validation. A blue bar marks what the named test finds '
             f"significant at 5 %. {_text(shared_words(records))}</p>"]  # fmt: skip
    found = places(plainly_named(records))
    for here in found:
        if len(found) > 1:
            parts.append(f"<h3>{_text(' on '.join(here.cells[name].iloc[0] for name in reversed(PLACE)))}</h3>")
        parts += [_finding(one) for one in findings(here)] or ["<p>No cell is done yet.</p>"]
    return "".join(parts)


def _finding(one: Finding) -> str:
    mark = " significant" if one.is_significant else ""
    return (
        f'<div class="finding{mark}"><p class="topic">{_text(one.topic)}</p><p>{_text(one.text)}</p>'
        f'<p class="test">{_text(one.test)}</p></div>\n'
    )


def _figures(records: Records, names: Sequence[str] | None, progress: Callable[[str, int, int], None] | None) -> str:
    parts, skipped = [], []
    with tempfile.TemporaryDirectory() as folder:
        for drawn in draw_all(records, folder, names, progress):
            if drawn.skipped:
                skipped.append(f"<li>{_text(drawn.name)}: {_text(drawn.skipped)}</li>")
                continue
            png, _, csv, words = drawn.files
            said = words.read_text(encoding="utf-8").strip().removeprefix("**")
            title, _, rest = said.partition("**")
            numbers = (
                f'<a download="{_text(csv.name)}" href="{_data(csv, "text/csv")}">the numbers, with their cells</a>'
            )
            parts.append(
                f'<figure id="figure-{_anchor(drawn.name)}"><img alt="{_text(title)}" src="{_data(png, "image/png")}">'
                f"<figcaption><strong>{_text(title)}</strong> {_text(rest.strip())} {numbers}</figcaption></figure>\n"
            )
    if skipped:
        parts.append(f"<details><summary>{counted(len(skipped), 'figure')} left out: what they would need</summary>"
                     f"<ul>{''.join(skipped)}</ul></details>")  # fmt: skip
    return "".join(parts)


def _tables(tables: Mapping[str, pd.DataFrame]) -> str:
    parts: list[str] = []
    for name, frame in tables.items():
        if len(frame):
            is_open = " open" if not parts else ""
            spoken = name.replace("_", " ").capitalize()
            parts.append(f'<details id="table-{_anchor(name)}"{is_open}><summary>{_text(spoken)}, '
                         f"{counted(len(frame), 'row')}</summary>{_table(frame)}</details>\n")  # fmt: skip
    return "".join(parts) or "<p>There are no tables yet.</p>"


def _design(records: Records) -> str:
    cells = with_setting(records.cells)
    rows = []
    for (benchmark, backbone), here in cells.groupby(PLACE):
        for method in theme.in_order(here["method"]):
            ours = here[here["method"].eq(method)]
            rates = sorted(ours["learning_rate"].dropna().unique())
            rows.append({
                "benchmark": str(benchmark), "backbone": str(backbone), "method": theme.look(method).label,
                "settings": str(ours["setting"].nunique()), "learning rates": ", ".join(f"{rate:g}" for rate in rates),
                "runs each": str(ours["run"].nunique()), "steps": ", ".join(map(str, sorted(ours["steps"].unique()))),
                "cells": str(len(ours)),
                **{status: str(int(ours["status"].eq(status).sum())) for status in sorted(cells["status"].unique())},
            })  # fmt: skip
    return _table(pd.DataFrame(rows).fillna(""))


def _provenance(records: Records, command: str) -> str:
    cells = records.cells
    facts = {"records": f"sha256:{records.fingerprint()}"}
    for name, word in (("code_version", "code"), ("device", "device"), ("manifest", "benchmark's manifest"),
                       ("library_versions", "libraries"), ("engine", "how steps were carried out")):  # fmt: skip
        facts[word] = "; ".join(sorted(set(filter(None, map(str, cells[name].dropna()))))) or "unknown"
    hours = cells["wall_time_s"].sum() / 3600.0
    facts["computing"] = f"{hours:.2f} hours of one worker in all"
    if command:
        facts["this page"] = command
    facts["a point's cells"] = "are in the numbers of its figure; gmixout study show CELL tells their settings"
    rows = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in facts.items())
    return f'<table class="facts">{rows}</table>'


def _table(frame: pd.DataFrame) -> str:
    heading = "".join(f"<th>{_text(str(name))}</th>" for name in frame.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{_text(str(value))}</td>' for value in row)}</tr>\n" for row in frame.to_numpy().tolist()
    )
    return f'<div class="wide"><table><thead><tr>{heading}</tr></thead><tbody>{rows}</tbody></table></div>'


def _data(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _anchor(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())


def _text(words: str) -> str:
    return html.escape(words, quote=True)
