"""The report is one page that says what the records say, and a real browser can read it without a network."""

import base64
import io
import re

import pandas as pd
import pytest

from analysis.comparisons import compare
from analysis.figures.words import percent
from analysis.findings import findings
from analysis.levers import lever_effects
from analysis.records import Records, cells_frame, concatenate
from analysis.report import report
from tests.analysis.synthetic import fabricate

NAMES = ["corruption_severity", "longtail_groups"]
TABLES = {"methods": pd.DataFrame({"method": ["GMixout & <friends>"], "ID (%)": ["50.0 [49.0, 51.0]"]})}


@pytest.fixture(scope="module")
def page(small) -> str:
    return report(small, "A study <of ours>", TABLES, "name: ours\nseeds: [0, 1]\n", "gmixout report ours", NAMES)


def test_findings_are_the_numbers_of_their_tests(small) -> None:
    found = {one.topic: one for one in findings(small)}
    ours = found["GMixout against full fine-tuning"]
    rows = compare(small, references=("full",), scores=("id_score", "ood_score"))
    rows = rows[rows["method"].eq("gmixout")]
    for row in rows.to_dict("records"):
        assert percent(row["difference"], signed=True) in ours.text
    assert ours.is_significant == bool(rows["is_significant"].any())
    assert "Holm" in ours.test
    effects = lever_effects(small).query("lever == 'sparsity' and response == 'ood_score'").iloc[0]
    assert percent(effects["effect"], signed=True) in found["Mask sparsity p (fraction held)"].text
    assert found["Lost runs"].text == f"Of {len(small.cells)} cells, none diverged or failed."


def test_verdicts_follow_the_data() -> None:
    small = fabricate(anchors=("ema",), periods=(10.0,), sparsities=(0.9,), learning_rates=(1e-3,))
    full = small.cells.query("method == 'full'")["cell"]
    metrics = small.metrics.copy()
    is_full = metrics["cell"].isin(full) & metrics["metric"].eq("accuracy_score") & metrics["weights"].eq("reported")
    metrics.loc[is_full & metrics["split"].eq("id_test"), "value"] -= 0.4
    rows = small.cells.to_dict("records")
    rows[0]["status"] = "diverged"
    found = findings(Records(cells_frame(rows), metrics, small.examples.iloc[:0], small.curves))
    text = {one.topic: one.text for one in found}
    assert text["No loss of ID"].startswith("GMixout loses less than a point")
    assert text["Lost runs"] == f"Of {len(rows)} cells, 1 cell diverged."


def test_findings_are_of_one_place(small) -> None:
    assert findings(Records.empty()) == []
    other = fabricate(anchors=(), learning_rates=(1e-3,), seeds=(0,), benchmark="letters")
    with pytest.raises(ValueError, match="one benchmark"):
        findings(concatenate([small, other]))
    with pytest.raises(ValueError, match="at least one cell"):
        report(Records.empty(), "nothing", {})


def test_nothing_in_the_page_points_outside_it(page) -> None:
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    assert "<script" not in page
    assert "A study &lt;of ours&gt;" in page
    assert "GMixout &amp; &lt;friends&gt;" in page


def test_numbers_behind_a_figure_are_inside(page, small) -> None:
    (packed,) = re.findall(r'download="corruption_severity.csv" href="data:text/csv;base64,([^"]*)"', page)
    frame = pd.read_csv(io.BytesIO(base64.b64decode(packed)), comment="#")
    assert {cell for cells in frame["cells"] for cell in cells.split(";")} <= set(small.cells["cell"])


def test_a_browser_shows_it_without_a_network(page, browser, tmp_path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    browser.get(path.as_uri())
    find = browser.execute_script
    assert browser.title == "A study <of ours>"
    assert [heading.text for heading in browser.find_elements("css selector", "h2")] == [
        "Findings", "Figures", "Tables", "What was run", "Provenance"]  # fmt: skip
    pictures = browser.find_elements("css selector", "figure img")
    assert [one.get_attribute("alt") for one in pictures] == ["Accuracy against corruption severity."]
    assert find("return [...document.images].every(one => one.complete && one.naturalWidth > 600)")
    assert "long-tailed" in find("return document.querySelector('#figures details').textContent")
    assert find("return getComputedStyle(document.querySelector('.finding .topic')).fontWeight") == "600"
    for link in browser.find_elements("css selector", "nav a"):
        link.click()
        assert find("return document.querySelector(location.hash).getBoundingClientRect().top") < 400
    # Nothing was asked of a server, and nothing went wrong.
    assert find("return performance.getEntriesByType('resource').filter(one => !one.name.startsWith('data:'))") == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    # Narrow, the page itself does not scroll sideways; only wide tables do, within themselves.
    browser.set_window_size(500, 900)
    assert find("return document.documentElement.scrollWidth <= window.innerWidth")
