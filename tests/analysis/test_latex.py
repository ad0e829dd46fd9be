"""LaTeX tables: structure by a parser of our own everywhere, and compiled where the machine has a LaTeX."""

import re
import shutil
import subprocess

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.figures import FIGURES
from analysis.granularity import granularities, printed_granularities
from analysis.latex import tex, to_latex
from analysis.overview import overview
from analysis.printing import to_markdown
from studies.commands.tables import NOTES, TABLES

NASTY = pd.DataFrame(
    {
        "a_b & c (%)": ["[1, 2]", r"\foo{bar}", "$x^2$ ~ 50 % #1", "−1.5 → ∞ × α, λ — ±≤≥ <b> | …"],
        "x (points)": ["-1.0 [-2.0, +3.0] *", "+0.1 *", "—", "12 †"],
    }
)  # fmt: skip


def cells_of(text: str) -> list[list[str]]:
    """Rows of a tabular, its cells apart; fails where braces, columns or rules are not what LaTeX needs."""
    body = re.fullmatch(r"\\begin\{tabular\}\{([lr]+)\}\n(.*)\\end\{tabular\}\n(.*)", text, re.DOTALL)
    assert body
    columns, inside, after = body.groups()
    depth = 0
    for letter in re.sub(r"\\[{}]", "", text):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0
    assert depth == 0
    rules = [line for line in inside.splitlines() if line.startswith(("\\toprule", "\\midrule", "\\bottomrule"))]
    assert rules == ["\\toprule", "\\midrule", "\\bottomrule"]
    rows = [line for line in inside.splitlines() if line not in rules]
    assert all(line.endswith(r" \\") for line in rows)
    split = [re.split(r"(?<!\\)&", line.removesuffix(r" \\")) for line in rows]
    assert all(len(row) == len(columns) for row in split)
    for row in split:
        for cell in row:
            plain = re.sub(r"\\[\\%&#_{}$]|\\[a-z]+|\$[^$]*\$|\{|\}", "", cell)
            assert not set("%&#_$^~\\<>") & set(plain), cell
            assert not cell.lstrip().startswith("[")
    assert not after or r"\footnotesize" in after
    return split


def test_whatever_a_name_holds_is_text() -> None:
    rows = cells_of(to_latex(NASTY, "50 % of R&D_1"))
    assert rows[0][1].strip() == r"\shortstack[r]{x\\(points)}"
    assert rows[1][1].strip() == r"$-$1.0 {[}$-$2.0, +3.0]$^{*}$"
    assert to_latex(NASTY).startswith(r"\begin{tabular}{lr}")
    assert to_latex(NASTY).isascii()


@given(st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])), min_size=1, max_size=4))
def test_any_text_keeps_the_structure(words) -> None:
    frame = pd.DataFrame([words, words], columns=[f"c{number}" for number in range(len(words))])
    assert len(cells_of(to_latex(frame))) == 3


def test_escapes_do_not_escape_each_other() -> None:
    assert tex("\\{}") == r"\textbackslash{}\{\}"
    assert tex("x-1 -2 a–b") == "x-1 $-$2 a--b"


@pytest.fixture(scope="module")
def printed(rivals, crossed) -> dict[str, str]:
    few = rivals.keep(rivals.cells.loc[rivals.cells["method"].isin(["full", "gmixout", "ensemble/short"]), "cell"])
    found = {}
    for name, (compute, words) in TABLES.items():
        frame = compute(crossed if name == "granularities" else few)
        if len(frame):
            found[name] = to_latex(words(frame), NOTES.get(name, ""))
    return found


def test_every_table_has_the_structure(printed) -> None:
    assert set(printed) >= {"overview", "comparisons", "costs", "implicit_ensembles", "granularities", "ensembles"}
    for text in printed.values():
        assert len(cells_of(text)) >= 2
        assert text.isascii()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="this machine has no LaTeX")
def test_every_table_compiles(printed, tmp_path) -> None:
    tables = "\n\n".join([*printed.values(), to_latex(NASTY, "50 % of R&D_1")])
    (tmp_path / "all.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + tables + "\\end{document}\n"
    )
    ended = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"], cwd=tmp_path, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert (tmp_path / "all.pdf").stat().st_size > 1000


def test_tables_and_figures_share_no_name() -> None:
    """They are written to one folder, each with a CSV and a Markdown file."""
    assert not set(TABLES) & set(FIGURES)


def test_marks_are_explained_below_the_table(crossed) -> None:
    text = printed_granularities(granularities(crossed))
    markdown = to_markdown(text, NOTES["granularities"])
    assert markdown.endswith(NOTES["granularities"] + "\n")
    assert markdown.splitlines()[len(text) + 2] == ""
    assert set(NOTES) <= set(TABLES)
    for name in ("comparisons", "granularities", "ensembles", "levers"):
        assert "*" in NOTES[name]
        assert "Holm" in NOTES[name]


def test_an_overview_tells_missing_seeds(rivals) -> None:
    lost = rivals.cells.query("method == 'lora' and seed == 1")["cell"]
    kept = rivals.cells.loc[rivals.cells["method"].isin(["full", "lora"]), "cell"]
    here = rivals.keep(kept)
    metrics = here.metrics[~here.metrics["cell"].isin(lost)]
    shown = overview(type(here)(here.cells, metrics, here.examples, here.curves))["method"].tolist()
    assert shown == ["LoRA (1 missing)", "Full fine-tuning"]
