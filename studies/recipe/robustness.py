"""Robust accuracy: the fraction of images that stay right whatever an attack within a small cube finds."""

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from studies.benchmarks.benchmark import Images
from studies.evaluate import BATCH_SIZE, logits, to_input
from studies.modes import evaluating
from studies.recipe.attack import pgd
from studies.recipe.streams import generator
from studies.settings.attack import Attack

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits and labels to a sum of one term an image."""


def _cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    # In single precision the label's part of the gradient is 0 as soon as it leads by 17.
    return functional.cross_entropy(scores.double(), labels, reduction="sum")


def _margin(scores: Tensor, labels: Tensor) -> Tensor:
    """By how much the best wrong class leads; above 0 where the model is wrong (Carlini and Wagner, 2017)."""
    rivals = scores.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    return (rivals - scores.gather(1, labels[:, None])[:, 0]).sum()


LOSSES: dict[str, Loss] = {"cross_entropy": _cross_entropy, "margin": _margin}


def robust_accuracy(
    model: nn.Module,
    images: Images,
    labels: npt.NDArray[np.int64],
    attack: Attack,
    seed: int,
    device: str = "cpu",
    after_batch: Callable[[int], None] = lambda examples: None,
) -> float:
    """Fraction of images classified rightly as they are and after every start with every loss of the attack.

    It is an upper bound: a better attack could find more. Perturbed pixels are not rounded to 8 bits. At most as high
    as the accuracy of the same images by :func:`studies.evaluate.logits`. Costs up to ``steps x restarts x losses``
    passes forward and back through the model; a batch with nothing left to lose is not attacked on.

    Args:
        model: Holds the weights that are reported. It is attacked in evaluation mode; its mode is restored, and its
            gradients are left alone.
        images: Shape ``(N, height, width, 3)``, uint8; or files that a slice reads.
        labels: Shape ``(N,)``.
        attack: Radius, steps, restarts, losses, and how many of the first images are attacked.
        seed: Of the random starts, which are the same for every model.
        device: Where the model lives.
        after_batch: Called with the number of images just done; may raise to stop.

    Raises:
        ValueError: If there are no images.
    """
    images, labels = images[: attack.examples], labels[: attack.examples]
    if len(images) == 0:
        raise ValueError("robust accuracy needs at least one image, got none")
    withstood = logits(model, images, device).argmax(axis=1) == labels
    with evaluating(model):
        for first in range(0, len(images), BATCH_SIZE):
            part = slice(first, first + BATCH_SIZE)
            withstood[part] &= _withstands(model, images[part], labels[part], attack, (seed, first), device)
            after_batch(len(images[part]))
    return float(withstood.mean())


def _withstands(
    model: nn.Module,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    attack: Attack,
    key: tuple[int, int],
    device: str,
) -> npt.NDArray[np.bool_]:
    inputs, targets = to_input(images, device), torch.tensor(labels, device=device)
    withstood = torch.ones(len(labels), dtype=torch.bool, device=device)
    for restart, name in itertools.product(range(attack.restarts), attack.losses):
        if not withstood.any():
            break
        attacked = pgd(
            _objective(model, LOSSES[name], targets),
            inputs,
            attack.epsilon,
            attack.steps,
            attack.effective_step_size,
            generator("robust accuracy", *key, restart),
        )
        with torch.inference_mode():
            withstood &= model(attacked).argmax(dim=1) == targets
    return withstood.cpu().numpy()


def _objective(model: nn.Module, loss: Loss, targets: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda perturbed: loss(model(perturbed), targets)
