"""The dashboard: what it is given, and what a real browser shows of it."""

import socket
import urllib.request
from pathlib import Path

from analysis.records import read
from studies.dashboard import mirror
from tests.studies.running import gmixout, killed_at_last, start, wait_for


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_every_cell_is_a_trial_with_its_settings_scores_and_curve(finished):
    folder, _ = finished
    records = read(folder / "results" / "smoke")
    study = mirror(records, "smoke")
    trials = {trial.user_attrs["cell"]: trial for trial in study.get_trials()}
    assert trials.keys() == set(records.cells["cell"])
    accuracy = records.metrics.query("weights == 'reported' and split == 'id_val' and metric == 'accuracy_score'")
    assert {cell: trial.value for cell, trial in trials.items()} == dict(zip(accuracy["cell"], accuracy["value"]))
    for row in records.cells.to_dict("records"):
        trial = trials[row["cell"]]
        assert trial.params["method"] == row["method"]
        assert ("anchor" in trial.params) == (row["anchor"] == row["anchor"] and row["anchor"] is not None)
        curve = records.curves.query("cell == @row['cell'] and metric == 'id_val_accuracy_score'")
        assert trial.intermediate_values == dict(zip(curve["step"], curve["value"]))
        assert 0 < trial.user_attrs["ood_score"] < 1


def test_cells_without_a_result_have_no_value(finished):
    folder, _ = finished
    records = read(folder / "results" / "smoke")
    cells = records.cells.assign(status=["diverged", "pruned", "failed", *["done"] * (len(records.cells) - 3)])
    study = mirror(type(records)(cells, records.metrics, records.examples, records.curves), "smoke")
    assert [trial.state.name for trial in study.get_trials()][:4] == ["FAIL", "PRUNED", "FAIL", "COMPLETE"]
    assert [trial.user_attrs["status"] for trial in study.get_trials()][:3] == ["diverged", "pruned", "failed"]


def test_several_objectives_are_shown_by_name(finished):
    folder, _ = finished
    records = read(folder / "results" / "smoke")
    study = mirror(records, "smoke", ["id_val_accuracy_score", "training_flops"])
    assert study.metric_names == ["id_val_accuracy_score", "training_flops"]
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]


def test_real_browser_shows_the_study_a_plot_and_a_figure(finished, browser):
    from selenium.webdriver.common.by import By

    folder, _ = finished
    port = free_port()
    url = f"http://127.0.0.1:{port}/dashboard"
    with start("dashboard", "smoke", "--port", str(port), cwd=folder) as process, killed_at_last(process):
        wait_for(lambda: answers(url) or process.poll() is not None)
        assert process.poll() is None, process.stdout.read()
        assert {address for address, own in listening() if own == port} == {"127.0.0.1"}
        browser.set_window_size(1600, 2400)
        browser.get(url)
        wait_for(lambda: "smoke" in text(browser))
        browser.get(f"{url}/studies/0")
        assert wait_for(lambda: browser.find_elements(By.CSS_SELECTOR, ".js-plotly-plot svg"))
        images = wait_for(lambda: browser.find_elements(By.CSS_SELECTOR, "img[src*=artifacts]"))
        width = "return arguments[0].naturalWidth"
        assert wait_for(lambda: browser.execute_script(width, images[0])) > 100
        browser.get(f"{url}/studies/0/note")
        fingerprint = read(folder / "results" / "smoke").fingerprint()
        wait_for(lambda: f"records sha256:{fingerprint[:12]}" in text(browser))
        taken = gmixout("dashboard", "smoke", "--port", str(port), cwd=folder)
    assert taken.returncode == 2
    assert "choose another with --port" in taken.stderr


def test_study_without_results_has_nothing_to_show(tmp_path):
    ended = gmixout("dashboard", "smoke", cwd=tmp_path)
    assert ended.returncode == 2
    assert "run it first: gmixout study run smoke" in ended.stderr


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as page:
            return page.status == 200
    except OSError:
        return False


def text(browser):
    return browser.execute_script("return document.body.innerText")


def listening():
    """Address and port of every listening socket of this machine."""
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                address, port = fields[1].split(":")
                yield ("127.0.0.1" if address == "0100007F" else address), int(port, 16)
