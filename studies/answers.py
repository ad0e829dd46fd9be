"""What every model of a cell answers on every split: the reported one, the members, the WiSE-FT curve."""

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from studies.benchmarks.benchmark import Benchmark
from studies.costs import plain_splits, split_names
from studies.evaluate import Answers, answers
from studies.failures import Diverged
from studies.features import catching
from studies.methods import Member, Method
from studies.methods.wise import interpolate
from studies.outputs import Features, Logits, Outputs
from studies.paths import ANCHOR, PRETRAINED, REPORTED
from studies.recipe import robust_accuracy
from studies.settings import CellSettings
from studies.surface import averaged, geometry_rows, path_rows

ATTACK_SEED = 0
"""Of the attack's random starts: the same for every model."""


def answer(
    cell: CellSettings,
    benchmark: Benchmark,
    pretrained: nn.Module,
    model: nn.Module,
    method: Method,
    reported: dict[str, Tensor],
    after_batch: Callable[[int], None],
    device: str = "cpu",
) -> Outputs:
    """Evaluates the models of a trained cell.

    Args:
        cell: Says how many members, which WiSE-FT coefficients, and whether corruptions count.
        benchmark: Gives images and labels.
        pretrained: The model before fine-tuning; not changed.
        model: The fine-tuned model that the method is attached to.
        method: Gives the members.
        reported: The reported weights.
        after_batch: Called with the number of images just done; may raise to stop.
        device: Where the models live.

    Raises:
        Diverged: If a model's logits are not finite.
    """
    asked = Questions(cell, benchmark, after_batch, device)
    kept = method.members()
    members = [asked.member(model, member) for member in kept]
    fresh = [asked.member(model, member)[0] for member in method.fresh_members(cell.evaluation.fresh_members)]
    # A merged model is a plain module: what is evaluated is what anyone would load.
    found = asked.weights(pretrained, reported)
    steps = tuple(member.step for member in kept)
    found = dataclasses.replace(
        found,
        members=tuple(logits for logits, _ in members),
        features=tuple(features for _, features in members),
        member_steps=steps,
        fresh=tuple(fresh),
    )
    if cell.evaluation.surface is None:
        return found
    held = [_weights(method, member) for member in kept]
    named = {PRETRAINED: pretrained.state_dict(), REPORTED: reported}
    anchor = method.anchor_weights()
    if anchor is not None:
        named[ANCHOR] = anchor
    walked = path_rows(cell.evaluation.surface, benchmark, pretrained, held, named, after_batch, device)
    average = asked.average(pretrained, held) if len(held) >= 2 else {}
    return dataclasses.replace(found, average=average, surface=(*walked, *geometry_rows(held, named)))


class Questions:
    """The splits that a cell's models answer on.

    Args:
        cell: Says which WiSE-FT coefficients and which attack there are, and whether corruptions count.
        benchmark: Gives images and labels.
        after_batch: Called with the number of images just done; may raise to stop.
        device: Where the models live.
    """

    def __init__(
        self, cell: CellSettings, benchmark: Benchmark, after_batch: Callable[[int], None], device: str = "cpu"
    ) -> None:
        self._cell, self._benchmark, self._after_batch, self._device = cell, benchmark, after_batch, device
        splits = [name for name in split_names(benchmark) if name != "train"]
        self.plain = plain_splits(splits)
        self.everywhere = splits if cell.evaluation.corruptions else self.plain

    def member(self, model: nn.Module, member: Member) -> tuple[Logits, Features]:
        """What a member answers on all splits but the corrupted ones, and what its head sees there.

        Raises:
            Diverged: If its logits are not finite.
        """
        logits: dict[str, npt.NDArray[np.float16]] = {}
        features: dict[str, npt.NDArray[np.float32]] = {}
        with member.weights():
            for name in self.plain:
                with catching(model) as caught:
                    logits |= self._logits(model, [name])
                found = caught.features()
                if found is not None:
                    features[name] = found
        return logits, features

    def average(self, pretrained: nn.Module, members: list[dict[str, Tensor]]) -> Logits:
        """What the model of the members' mean weights answers on all splits but the corrupted ones.

        Raises:
            Diverged: If its logits are not finite.
        """
        merged = copy.deepcopy(pretrained)
        merged.load_state_dict(averaged(members))
        return self._logits(merged, self.plain)

    def weights(self, pretrained: nn.Module, reported: dict[str, Tensor]) -> Outputs:
        """What the model with these weights answers everywhere, with its WiSE-FT curve and its robust accuracy.

        Args:
            pretrained: The model before fine-tuning; not changed.
            reported: Weights to evaluate.

        Raises:
            Diverged: If a model's logits are not finite.
        """
        evaluation = self._cell.evaluation
        merged = copy.deepcopy(pretrained)
        base = pretrained.state_dict()
        merged.load_state_dict(reported)
        found = self._ask(merged, self.everywhere)
        numbers = distances(base, reported)
        robust = None
        if evaluation.attack is not None:
            test = self._benchmark.load("id_test")
            score = robust_accuracy(merged, test.images, test.labels, evaluation.attack, ATTACK_SEED, self._device)
            robust = score, min(evaluation.attack.examples, len(test.labels))
        wise = {}
        for alpha in evaluation.wise_alphas:
            merged.load_state_dict(interpolate(base, reported, alpha))
            wise[alpha] = self._logits(merged, self.plain)
        return Outputs(
            labels={name: self._benchmark.load(name).labels for name in self.everywhere},
            groups=self._benchmark.groups,
            metric=self._benchmark.metric,
            reported={name: one.logits for name, one in found.items()},
            largest={name: one.largest for name, one in found.items()},
            wise=wise,
            numbers=numbers,
            robust=robust,
        )

    def _logits(self, model: nn.Module, names: list[str]) -> Logits:
        return {name: one.logits for name, one in self._ask(model, names).items()}

    def _ask(self, model: nn.Module, names: list[str]) -> dict[str, Answers]:
        found = {name: self._answers(model, name) for name in names}
        if wrong := [name for name, one in found.items() if not np.isfinite(one.logits).all()]:
            raise Diverged(f"the trained model's logits are not finite on {wrong[0]}")
        return found

    def _answers(self, model: nn.Module, split: str) -> Answers:
        images, readout = self._benchmark.load(split).images, self._benchmark.readout(split)
        return answers(model, images, self._device, self._after_batch, readout)


def _weights(method: Method, member: Member) -> dict[str, Tensor]:
    with member.weights():
        return method.held_weights()


def distances(pretrained: dict[str, Tensor], reported: dict[str, Tensor]) -> dict[str, float]:
    """Euclidean distance of all weights from the pretrained ones, and the same relative to their length.

    Example:
        >>> import torch
        >>> distances({"w": torch.tensor([3.0, 4.0])}, {"w": torch.tensor([3.0, 9.0])})
        {'distance_to_pretrained': 5.0, 'relative_distance_to_pretrained': 1.0}
    """
    moved = sum(
        float((reported[name].double() - tensor.double()).square().sum()) for name, tensor in pretrained.items()
    )
    length = sum(float(tensor.double().square().sum()) for tensor in pretrained.values())
    return {
        "distance_to_pretrained": moved**0.5,
        "relative_distance_to_pretrained": (moved / length) ** 0.5 if length else float("nan"),
    }
