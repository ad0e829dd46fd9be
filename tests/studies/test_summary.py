"""The closing tables: what they say, that they fit a terminal, and that they hold JSON's own values only."""

import json

import pytest
from rich.console import Console

from studies.commands.summary import print_summary, summary_json
from tests.analysis.synthetic import fabricate


def printed(records) -> str:
    console = Console(width=80)
    with console.capture() as captured:
        print_summary(records, console)
    return captured.get()


@pytest.mark.parametrize("rates", [(1e-3,), (1e-3, 3e-3)])
def test_matched_id_is_printed_where_there_is_a_frontier(rates) -> None:
    text = printed(fabricate(learning_rates=rates, anchors=("ema",), periods=(1.0,), sparsities=(0.5, 0.9)))
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "methods: %" in text
    assert ("OOD at matched ID" in text) == (len(rates) > 1)
    assert ("of 2 runs reach it" in text) == (len(rates) > 1)


def test_json_has_all_three_tables() -> None:
    records = fabricate(anchors=("ema",), periods=(1.0,), sparsities=(0.5,))
    tables = json.loads(summary_json(records), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert list(tables) == ["methods", "levers", "matched"]
    assert {row["at"] for row in tables["matched"]} == {"reference", "method"}
    assert all(row["reached"] <= row["runs"] for row in tables["matched"])
