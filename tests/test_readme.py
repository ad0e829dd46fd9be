"""The README is true: its code runs, its links exist, its numbers are those of the stored records."""

import pathlib
import re

import pytest
import torch

from analysis import levers, printing, records, tables, theme
from analysis.figures import check
from benchmarks import stored, summary

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_its_ten_lines_train_and_merge_a_model():
    block = blocks("python")[0]
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.GELU())
    model.add_module("head", torch.nn.Linear(8, 3))
    before = model[0].weight.detach().clone()
    keys = list(model.state_dict())
    names = {"model": model, "torch": torch, "loader": [(torch.randn(4, 6), torch.tensor([0, 1, 2, 0]))] * 3}
    exec(block, names)
    assert list(names["model"].state_dict()) == keys
    assert not torch.equal(model[0].weight, before)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", TEXT))))
def test_its_links_exist(link):
    assert (ROOT / link).exists()


def test_its_numbers_are_those_of_the_records():
    stored = records.read(ROOT / "figures/levers-full/records")
    for row in tables.summary(stored).query("weights == 'reported'").to_dict("records"):
        for score in ("id_score", "ood_score"):
            assert printing.interval_text(row[score], row[f"{score}_low"], row[f"{score}_high"]) in TEXT
    for row in levers.lever_effects(stored).to_dict("records"):
        assert printing.interval_text(row["effect"], row["low"], row["high"], signed=True) in TEXT


STORED = sorted(path.parent.name for path in ROOT.glob("figures/*/records"))


@pytest.mark.parametrize("study", STORED)
def test_figures_and_tables_are_drawn_from_the_stored_records(study):
    fingerprint = records.read(ROOT / "figures" / study / "records").fingerprint()
    drawn = sorted((ROOT / "figures" / study).glob("*.csv"))
    assert sum(path.with_suffix(".png").exists() for path in drawn) > 6
    for path in drawn:
        assert path.read_text().startswith(f"# records sha256:{fingerprint}\n")


@pytest.mark.parametrize("study", ["levers-quick", "rivals"])
def test_stored_figures_pass_their_check(study):
    # Those that are quick to compute; `gmixout figures RECORDS --out DIR --check` does all.
    stored = records.read(ROOT / "figures" / study / "records")
    names = ["training_curves", "corruption_severity", "corruption_grid"]
    checked = check.check_all(stored, ROOT / "figures" / study, names)
    assert [(one.name, one.problems, one.note) for one in checked] == [(name, (), "") for name in names]


def test_its_rivals_are_those_of_the_records():
    folder = ROOT / "figures/rivals"
    stored = records.read(folder / "records")
    for line in (folder / "overview.md").read_text().splitlines():
        assert line in TEXT
    for row in tables.summary(stored, draws=200).query("weights == 'reported'").to_dict("records"):
        printed = f"| {theme.look(row['method']).label} | {100 * row['id_score']:.1f} ["
        assert printed in TEXT


def test_its_costs_are_those_that_were_measured():
    for line in summary.lines(stored.RESULTS):
        assert line in TEXT
