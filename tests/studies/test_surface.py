"""The loss surface of a cell: its paths, ends, barriers and distances, against models built by hand."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from analysis.accuracy import accuracy_score, cross_entropy_error
from analysis.barriers import barrier_errors
from analysis.records import PATHS, WEIGHTS, metrics_frame, read
from studies import benchmarks
from studies.costs import split_sizes, work_of
from studies.evaluate import logits
from studies.methods.wise import interpolate
from studies.paths import paths
from studies.settings import CellSettings
from studies.settings.surface import Surface
from studies.store import CellFolder
from studies.surface import averaged, geometry_rows, path_rows

FEW = Surface(points=5, examples=20)


class Tiny(nn.Module):
    """Two numbers of each image decide: weights can be set by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 10, bias=False)
        self.register_buffer("count", torch.tensor(3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(torch.stack([images.mean(dim=(1, 2, 3)), images.amax(dim=(1, 2, 3))], dim=1))


def weights(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"head.weight": 9 * torch.randn(10, 2, generator=generator), "count": torch.tensor(seed)}


@pytest.fixture(scope="module")
def digits():
    return benchmarks.load("digits")


@pytest.fixture(scope="module")
def rows(digits):
    members = [weights(seed) for seed in (1, 2, 3)]
    named = {"pretrained": weights(0), "reported": weights(4), "anchor": weights(5)}
    seen: list[int] = []
    frame = list(path_rows(FEW, digits, Tiny(), members, named, seen.append))
    return metrics_frame([{"cell": "c", **row} for row in frame]), sum(seen)


def test_paths_are_those_that_records_may_name() -> None:
    walked = paths(3, has_anchor=True)
    assert {path.weights for path in walked} == set(PATHS) <= set(WEIGHTS)
    assert len(walked) == 2 + 1 + 3 + 1 + 2
    assert [path.weights for path in paths(0, has_anchor=False)] == ["path_pretrained_reported"]
    assert "path_first_last" not in {path.weights for path in paths(2, has_anchor=True)}


def test_points_are_interpolated_models(rows, digits) -> None:
    frame, _ = rows
    split = digits.load("id_test")
    model = Tiny()
    for alpha in (0.0, 0.25, 0.5, 1.0):
        model.load_state_dict(interpolate(weights(1), weights(2), alpha))
        answers = logits(model, split.images[:20])
        at = frame.query("weights == 'path_members' and member == 0 and split == 'id_test' and alpha == @alpha")
        found = at.set_index("metric")["value"]
        assert found["accuracy_score"] == accuracy_score(answers, split.labels[:20])
        assert found["cross_entropy_error"] == pytest.approx(cross_entropy_error(answers, split.labels[:20]))


def test_barriers_are_those_of_the_points(rows) -> None:
    frame, _ = rows
    for _, path in frame.groupby(["weights", "member", "split"]):
        points = path.dropna(subset="alpha").pivot(index="alpha", columns="metric", values="value").sort_index()
        expected = barrier_errors(points.index.to_numpy(), points["cross_entropy_error"], points["accuracy_score"])
        found = path[path["alpha"].isna()].set_index("metric")["value"]
        assert found.to_dict() == pytest.approx(dict(expected))


def test_geometry_by_hand() -> None:
    def at(x: float, y: float) -> dict[str, torch.Tensor]:
        return {"w": torch.tensor([x, y], dtype=torch.float32), "count": torch.tensor(1)}

    named = {"pretrained": at(0, 0), "reported": at(3, 0), "anchor": at(1, 0)}
    frame = metrics_frame([{"cell": "c", **row} for row in geometry_rows([at(2, 0), at(0, 2)], named)])
    found = frame.set_index(["weights", "metric", "member"])["value"]
    assert found["reported", "changed_entries", -1] == 1
    assert found["reported", "layer_changed_fraction/w", -1] == 0.5
    assert found["reported", "distance_to_anchor", -1] == 2
    assert found["reported", "anchor_to_pretrained", -1] == 1
    assert found["member", "angle_to_reported", 1] == pytest.approx(np.pi / 2)
    assert found["members", "update_angle", -1] == pytest.approx(np.pi / 2)
    assert found["members", "layer_update_angle/w", -1] == pytest.approx(np.pi / 2)
    assert found["members", "distance", -1] == pytest.approx(np.sqrt(8))
    assert found["members", "locality", -1] == pytest.approx(np.sqrt(2))
    mean = averaged([at(2, 0), at(0, 2)])
    assert mean["w"].tolist() == [1.0, 1.0]
    assert (mean["w"].dtype, mean["count"].item()) == (torch.float32, 1)


@pytest.mark.parametrize("name", ["gmixout-latest", "full"])
def test_a_cell_that_is_asked_for_it(cells, tmp_path, run_cell, digits, name) -> None:
    plain = cells[name]
    asked = plain.model_copy(
        update={"evaluation": plain.evaluation.model_copy(update={"surface": Surface(points=3, examples=10)})}
    )
    assert asked.identity != plain.identity
    folder = CellFolder(tmp_path / "asked")
    run_cell(folder, asked)
    metrics = read(folder.path).metrics
    members = metrics.query("weights == 'member' and metric == 'step'")["member"].nunique()
    found = metrics[metrics["weights"].str.startswith("path_")]
    expected = {(path.weights, path.member) for path in paths(members, name.startswith("gmixout"))}
    assert set(zip(found["weights"], found["member"])) == expected
    assert not found["value"].isna().any()
    distance = metrics.query("weights == 'reported' and metric == 'distance_to_pretrained'")["value"].item()
    layers = metrics[metrics["metric"].str.startswith("layer_distance/")]["value"]
    assert np.sqrt((layers**2).sum()) == pytest.approx(distance)
    row = read(folder.path).cells.iloc[0]
    changed = metrics.query("metric == 'changed_entries'")["value"].item()
    assert 0 < changed <= row["touched_over_run"]
    assert {"accuracy_score", "brier_error"} <= set(metrics.query("weights == 'weight_average'")["metric"])


def test_work_counts_every_image(rows, digits, cells) -> None:
    _, seen = rows
    cell = next(cell for name, cell in cells.items() if name.startswith("gmixout"))
    sizes = split_sizes(digits)

    def images(**changes) -> int:
        evaluation = cell.evaluation.model_copy(update={"members": 3, **changes})
        return work_of(cell.model_copy(update={"evaluation": evaluation}), sizes).images

    once = sum(size for split, size in sizes.items() if not split.startswith(("train", "corruption/")))
    assert images(surface=FEW) - images() == seen + once


def test_settings(cells) -> None:
    cell = cells["full"]
    assert "surface" not in cell.canonical
    asked = cell.model_copy(update={"evaluation": cell.evaluation.model_copy(update={"surface": Surface()})})
    assert CellSettings.from_canonical(asked.canonical) == asked
    with pytest.raises(ValueError, match="points must be odd"):
        Surface(points=4)


def test_every_method_can_say_what_it_holds(fresh, cells) -> None:
    from studies.methods import attach

    for cell in cells.values():
        model = copy.deepcopy(fresh)
        held = attach(model, cell).held_weights()
        assert held.keys() == fresh.state_dict().keys()
