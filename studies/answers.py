"""What every model of a cell answers on every split: the reported one, the members, the WiSE-FT curve."""

import copy
from collections.abc import Callable

import numpy as np
from torch import Tensor, nn

from studies.benchmarks.benchmark import Benchmark
from studies.costs import plain_splits, split_names
from studies.evaluate import logits
from studies.failures import Diverged
from studies.frames import Logits, Outputs
from studies.methods import Method
from studies.methods.wise import interpolate
from studies.settings import CellSettings


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
    splits = [name for name in split_names(benchmark) if name != "train"]
    plain = plain_splits(splits)
    everywhere = splits if cell.evaluation.corruptions else plain

    def ask(of: nn.Module, names: list[str]) -> Logits:
        found = {name: logits(of, benchmark.load(name).images, device, after_batch) for name in names}
        if wrong := [name for name, values in found.items() if not np.isfinite(values).all()]:
            raise Diverged(f"the trained model's logits are not finite on {wrong[0]}")
        return found

    members = []
    for member in method.members():
        with member.weights():
            members.append(ask(model, plain))
    # A merged model is a plain module: what is evaluated is what anyone would load.
    merged = copy.deepcopy(pretrained)
    base = pretrained.state_dict()
    merged.load_state_dict(reported)
    found = ask(merged, everywhere)
    wise = {}
    for alpha in cell.evaluation.wise_alphas:
        merged.load_state_dict(interpolate(base, reported, alpha))
        wise[alpha] = ask(merged, plain)
    return Outputs(
        labels={name: benchmark.load(name).labels for name in everywhere},
        groups=benchmark.groups,
        reported=found,
        members=tuple(members),
        wise=wise,
        distances=distances(base, reported),
    )


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
