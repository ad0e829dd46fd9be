"""FLYP: fine-tuning with the contrastive loss of the pretraining, where the backbone has a text tower."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from studies.failures import Impossible
from studies.methods.method import Criterion
from studies.methods.plain import Plain
from studies.settings import CellSettings


class Flyp(Plain):
    r"""Finetune Like You Pretrain (Goyal et al., CVPR 2023): images against the prompts of their labels.

    .. math:: \mathcal L = \tfrac12\big[\mathrm{CE}(s\,u v^\top) + \mathrm{CE}(s\,v u^\top)\big]

    with unit image features :math:`u`, unit text features :math:`v` of one prompt of each image's class, and the
    model's scale :math:`s = e^{t}`. With ``positives="pairs"`` the targets are the pairs themselves, as in the authors'
    code: two images of one class in a batch count as each other's negatives. With ``"labels"`` every prompt of the
    image's class in the batch is a target. The head does not train: it is the text tower's answer to the prompts, and
    is written anew whenever weights are reported.

    A backbone with a text tower has ``encode_image(images)`` and ``encode_text(tokens)`` to features of one width,
    ``logit_scale`` (:math:`t`), ``prompts`` (a buffer of tokens, shape ``(classes, prompts, length)``), and
    ``zero_shot_head()``, the weight that ``head`` should have. Its text tower's parameters begin with ``text``.

    Raises:
        Impossible: If the backbone has no text tower, or the study mixes labels.
    """

    couples_images = True

    def __init__(self, model: nn.Module, cell: CellSettings) -> None:
        wanted = ("encode_image", "encode_text", "logit_scale", "prompts", "zero_shot_head")
        if missing := [name for name in wanted if not hasattr(model, name)]:
            raise Impossible(
                f"flyp needs a backbone with a text tower, such as CLIP's; {type(model).__name__} has no {missing[0]}"
            )
        super().__init__(model, cell)
        self._has_pairs = cell.options["positives"] == "pairs"
        if not cell.options["train_text"]:
            for name in [name for name in self.trained if name.startswith("text")]:
                self.trained.pop(name).requires_grad_(False)
        self._seed = cell.seed

    @staticmethod
    def choose(model: nn.Module) -> dict[str, nn.Parameter]:
        return {name: value for name, value in model.named_parameters() if not name.startswith("head.")}

    def loss(self, images: Tensor, targets: Tensor, criterion: Criterion) -> Tensor:
        if targets.ndim != 1:
            raise Impossible("flyp pairs each image with one label: it cannot be trained with MixUp or CutMix")
        model: Any = self.model
        generator = torch.Generator().manual_seed(1_000_003 * self._seed + self.step)
        chosen = torch.randint(model.prompts.shape[1], targets.shape, generator=generator).to(targets.device)
        seen = functional.normalize(model.encode_image(images), dim=1)
        read = functional.normalize(model.encode_text(model.prompts[targets, chosen]), dim=1)
        similar = model.logit_scale.exp() * seen @ read.T
        same = torch.eye(len(targets), device=targets.device, dtype=similar.dtype)
        if not self._has_pairs:
            same = (targets[:, None] == targets[None, :]).to(similar.dtype)
            same = same / same.sum(dim=1, keepdim=True)
        return 0.5 * (functional.cross_entropy(similar, same) + functional.cross_entropy(similar.T, same))

    @contextmanager
    def reported(self) -> Iterator[None]:
        head: Any = self.model.head
        own = head.weight.detach().clone()
        with torch.no_grad():
            head.weight.copy_(self._head())
        try:
            yield
        finally:
            with torch.no_grad():
                head.weight.copy_(own)

    @torch.no_grad()
    def merge(self) -> nn.Module:
        head: Any = self.model.head
        head.weight.copy_(self._head())
        return self.model

    @contextmanager
    def holding(self, weights: Mapping[str, Tensor]) -> Iterator[None]:
        with super().holding(weights), self.reported():
            yield

    @torch.no_grad()
    def _head(self) -> Tensor:
        model: Any = self.model
        found: Tensor = model.zero_shot_head()
        return found
