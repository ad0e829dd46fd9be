"""What a backbone is: a network, and the recipe that pretrains it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from studies.benchmarks.images import View

DIGITS_VIEW = View(32, 32, "bilinear")


@dataclass(frozen=True)
class Pretraining:
    """How a backbone is pretrained: AdamW, linear warm-up, cosine decay to 0.

    Attributes:
        corpus: Name of the corpus.
        images: Images seen, each once.
        batch_size: Images per step.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled weight decay.
        warmup_steps: Steps of the linear warm-up.
    """

    corpus: str = "digits"
    images: int = 120_000
    batch_size: int = 60
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup_steps: int = 200


@dataclass(frozen=True)
class Backbone:
    """A network that maps images ``(N, 3, 32, 32)`` in [0, 1] to logits, with its recipe.

    Attributes:
        build: Makes the network with fresh weights from torch's global generator. It normalises pixels itself, its
            ``head`` is an ``nn.Linear``, and ``features(images)`` is the input of the head.
        pretraining: The recipe.
        source: Where the weights come from.
        licence: Their licence.
        view: How an image becomes what the network sees; the digits are drawn that way already.
    """

    build: Callable[[], nn.Module]
    pretraining: Pretraining
    source: str = "pretrained on this machine on digits drawn by studies.benchmarks.digits"
    licence: str = "MIT; handwriting of the UCI set CC BY 4.0"
    view: View = DIGITS_VIEW
