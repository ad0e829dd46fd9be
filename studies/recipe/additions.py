"""A recipe at work: what training does to a batch, to the loss and to the images it attacks."""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from studies.benchmarks.draws import Draws
from studies.recipe.attack import pgd
from studies.recipe.flip import random_flip
from studies.recipe.losses import class_balanced_weights, log_priors, training_loss
from studies.recipe.mixing import mix
from studies.recipe.streams import generator
from studies.settings.recipe import Recipe
from studies.share import Part, PartDraws


class Additions:
    """Applies a recipe. It holds no state: every draw is a function of seed, step and what it is for.

    So a resumed run goes on bit for bit, cells with one seed see one sequence of pictures whatever their method, and
    switching one addition on leaves the draws of the others as they were. Only the attack depends on the model.

    Args:
        recipe: What is added.
        class_counts: Images of each class in the training split, shape ``(classes,)``.
        seed: The cell's seed.
        device: Where batches live.
        part: Which images of every batch these batches hold; by default all. They get what they would get in the whole.

    Raises:
        ValueError: If the counts are not one number of each class, or the loss needs images of a class without any.
    """

    def __init__(
        self,
        recipe: Recipe,
        class_counts: npt.NDArray[np.int64],
        seed: int,
        device: str = "cpu",
        part: Part | None = None,
    ) -> None:
        counts = np.asarray(class_counts)
        if counts.ndim != 1 or not counts.size or counts.min() < 0:
            raise ValueError(f"class_counts must be numbers of images, one a class, got {counts.tolist()}")
        self.recipe = recipe
        self._classes = len(counts)
        self._seed = seed
        self._part = part
        self._class_weights: Tensor | None = None
        self._adjustment: Tensor | None = None
        if recipe.loss == "class_balanced":
            weights = class_balanced_weights(counts, recipe.class_balanced_beta)
            self._class_weights = torch.tensor(weights, device=device)
        if recipe.loss == "logit_adjusted":
            self._adjustment = torch.tensor(recipe.logit_adjustment * log_priors(counts), device=device)

    def batch(self, images: Tensor, labels: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Mirrors, augments and mixes; the given tensors are not changed, and are returned where nothing is on.

        All of it happens on the images' device; the draws are the CPU's, so every device has the same ones.

        Args:
            images: Shape ``(N, 3, height, width)``, float32 in [0, 1]; cropped already, see ``studies.feed``.
            labels: Shape ``(N,)``, int64.
            step: Steps already taken, from 0.

        Returns:
            Images, and targets: the labels, or where images were mixed probabilities of shape ``(N, classes)``.
        """
        recipe = self.recipe
        if recipe.flip > 0:
            images = random_flip(images, recipe.flip, self._draws("flip", step))
        if recipe.augmentation == "randaugment":
            # Here, since torchvision takes 2.5 s to import, and most runs need nothing of it.
            from studies.recipe.randaugment import rand_augment

            draws = self._draws("randaugment", step)
            images = rand_augment(images, recipe.randaugment_ops, recipe.randaugment_magnitude, draws)
        if recipe.mixup_alpha == 0 and recipe.cutmix_alpha == 0:
            return images, labels
        targets = functional.one_hot(labels, self._classes).to(images.dtype)
        draws = Draws("recipe", "mix", self._seed, step)
        images, targets = mix(images, targets, recipe.mixup_alpha, recipe.cutmix_alpha, draws)
        neighbours = self._part.neighbours if self._part is not None else 0
        return images[neighbours:], targets[neighbours:]

    def criterion(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss; see :func:`training_loss`.

        Args:
            logits: Shape ``(N, classes)``.
            targets: From :meth:`batch`.
        """
        return training_loss(
            logits, targets, self._class_weights, self._adjustment, label_smoothing=self.recipe.label_smoothing
        )

    def attack(
        self, loss_of: Callable[[Tensor, Tensor], Tensor], images: Tensor, targets: Tensor, step: int, parts: int = 1
    ) -> Tensor:
        """Adversarial images for adversarial training, which trains on nothing else (Madry et al., ICLR 2018).

        Args:
            loss_of: Images and targets to the loss, by the model as it is: its mode and its ``.grad`` stay untouched.
            images: From :meth:`batch`.
            targets: From :meth:`batch`.
            step: Steps already taken, from 0.
            parts: In how many parts of the batch the attack is made, one after another.

        Returns:
            Images within ``adversarial_epsilon`` and [0, 1], detached; the given ones if adversaries are off.
        """
        recipe = self.recipe
        if recipe.adversarial_epsilon == 0:
            return images
        # One stream for all parts: each image starts where it would in a whole batch.
        start = generator("recipe attack", self._seed, step) if recipe.adversarial_start else None
        if start is not None and self._part is not None:
            # What the images before these are given.
            torch.rand((self._part.first, *images.shape[1:]), generator=start)
        settings = (recipe.adversarial_epsilon, recipe.adversarial_steps, recipe.effective_step_size, start)
        pairs = zip(images.tensor_split(parts), targets.tensor_split(parts), strict=True)
        return torch.cat([pgd(partial(_of, loss_of, part), seen, *settings) for seen, part in pairs])

    def _draws(self, purpose: str, step: int) -> Draws:
        key = ("recipe", purpose, self._seed, step)
        return Draws(*key) if self._part is None else PartDraws(self._part, *key)


def _of(loss_of: Callable[[Tensor, Tensor], Tensor], targets: Tensor, images: Tensor) -> Tensor:
    return loss_of(images, targets)
