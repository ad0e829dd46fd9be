"""The loss surface between the models of one run: losses along straight paths, barriers, distances and angles.

Batch norms' running statistics are interpolated like any other weight and not estimated again, so with a network that
has them a barrier may be theirs (Jordan et al., ICLR 2023); the transformers of this house have none.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from analysis.accuracy import accuracy_score, cross_entropy_error
from analysis.barriers import barrier_errors
from analysis.geometry import average, distance, layer_angles, layer_updates, locality, update_angle
from studies.benchmarks.benchmark import Benchmark
from studies.evaluate import logits
from studies.methods.wise import interpolate
from studies.paths import ANCHOR, PRETRAINED, REPORTED, paths
from studies.rows import Row
from studies.settings.surface import Surface

Weights = dict[str, Tensor]
Scores = Mapping[str, Mapping[str, float]]


def path_rows(
    settings: Surface,
    benchmark: Benchmark,
    model: nn.Module,
    members: Sequence[Weights],
    named: Mapping[str, Weights],
    after_batch: Callable[[int], None],
    device: str = "cpu",
) -> Iterator[Row]:
    """Accuracy and cross-entropy at every point of every path, and the three barriers of each.

    Args:
        settings: How many points and images.
        benchmark: Gives images and labels; the first of ``id_test`` and of each OOD domain are used.
        model: Any model with these weights' names; a copy of it is used.
        members: State dicts of the members, oldest first.
        named: State dicts of ``pretrained``, ``reported`` and, for masked methods, ``anchor``.
        after_batch: Called with the number of images just done; may raise to stop.
        device: Where the model lives.

    Yields:
        Rows of ``metrics`` without the cell: at a point ``alpha`` is the weight of the path's end; barriers have none.
    """
    probe = _Probe(settings, benchmark, model, after_batch, device)
    stations: dict[str | int, Weights] = dict(enumerate(members))
    stations.update(named.items())
    ends = {name: probe(weights) for name, weights in stations.items()}
    alphas = (0.0, *settings.inner_alphas, 1.0)
    for path in paths(len(members), ANCHOR in named):
        start, end = stations[path.start], stations[path.end]
        inner = [probe(interpolate(start, end, alpha)) for alpha in settings.inner_alphas]
        points = [ends[path.start], *inner, ends[path.end]]
        about = {"weights": path.weights, "member": path.member}
        for split, examples in probe.sizes.items():
            at = {**about, "split": split, "examples": examples}
            for alpha, point in zip(alphas, points, strict=True):
                for metric, value in point[split].items():
                    yield {**at, "alpha": alpha, "metric": metric, "value": value}
            losses = [point[split]["cross_entropy_error"] for point in points]
            accuracies = [point[split]["accuracy_score"] for point in points]
            for metric, value in barrier_errors(alphas, losses, accuracies).items():
                yield {**at, "metric": metric, "value": value}


def geometry_rows(members: Sequence[Weights], named: Mapping[str, Weights]) -> Iterator[Row]:
    """Distances and angles between the models, per layer as well; rows of ``metrics`` without the cell and split.

    ``distance_to_pretrained`` of the reported weights is among a cell's numbers anyway. Per-layer metrics are named
    ``layer_distance/<layer>`` and so on. Angles are in radians, between ways from the pretrained weights.

    Args:
        members: State dicts of the members, oldest first.
        named: As for :func:`path_rows`.
    """
    arrays = {name: _floating(weights) for name, weights in named.items()}
    origin, reported = arrays[PRETRAINED], arrays[REPORTED]
    layers = layer_updates(reported, origin)
    changed = float((layers["changed_fraction"] * layers["entries"]).sum())
    yield _number("reported", "changed_entries", changed)
    for row in layers.to_dict("records"):
        for metric in ("distance", "relative_distance", "changed_fraction"):
            yield _number("reported", f"layer_{metric}/{row['layer']}", row[metric])
    if ANCHOR in arrays:
        yield _number("reported", "distance_to_anchor", distance(reported, arrays[ANCHOR]))
        yield _number("reported", "anchor_to_pretrained", distance(arrays[ANCHOR], origin))
    visited = [_floating(member) for member in members]
    for number, member in enumerate(visited):
        yield _number("member", "distance_to_pretrained", distance(member, origin), number)
        yield _number("member", "distance_to_reported", distance(member, reported), number)
        yield _number("member", "angle_to_reported", update_angle(member, reported, origin), number)
    if len(visited) >= 2:
        yield _number("members", "locality", locality(visited))
        pairs = list(combinations(visited, 2))
        yield _number("members", "distance", float(np.mean([distance(*pair) for pair in pairs])))
        yield _number("members", "update_angle", float(np.mean([update_angle(*pair, origin) for pair in pairs])))
        for row in layer_angles(visited, origin).to_dict("records"):
            yield _number("members", f"layer_update_angle/{row['layer']}", row["angle"])


def averaged(members: Sequence[Weights]) -> Weights:
    """The members' mean weights; what is not floating point comes from the last."""
    means = average([_floating(member) for member in members])
    last = members[-1]
    return {name: last[name].new_tensor(means[name]) if name in means else tensor for name, tensor in last.items()}


class _Probe:
    """Accuracy and cross-entropy of weights on the chosen images."""

    def __init__(
        self,
        settings: Surface,
        benchmark: Benchmark,
        model: nn.Module,
        after_batch: Callable[[int], None],
        device: str,
    ) -> None:
        self._model, self._after_batch, self._device = copy.deepcopy(model), after_batch, device
        self._asked = {}
        for split in ("id_test", *benchmark.ood_splits):
            found = benchmark.load(split)
            images = found.images[: settings.examples]
            self._asked[split] = images, found.labels[: settings.examples], benchmark.readout(split)
        self.sizes = {split: len(labels) for split, (_, labels, _) in self._asked.items()}

    def __call__(self, weights: Weights) -> Scores:
        self._model.load_state_dict(weights)
        found = {}
        for split, (images, labels, readout) in self._asked.items():
            answers = logits(self._model, images, self._device, self._after_batch, readout)
            found[split] = {
                "accuracy_score": accuracy_score(answers, labels),
                "cross_entropy_error": cross_entropy_error(answers, labels),
            }
        return found


def _floating(weights: Weights) -> dict[str, npt.NDArray[Any]]:
    return {name: tensor.detach().cpu().numpy() for name, tensor in weights.items() if tensor.is_floating_point()}


def _number(weights: str, metric: str, value: float, member: int = -1) -> Row:
    return {"weights": weights, "metric": metric, "value": float(value), "member": member}
