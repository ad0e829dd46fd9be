"""How a training step is carried out on a machine: memory and speed, never what is computed. Needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_WORDS = {
    "micro_batch": "micro_batch",
    "activation_checkpointing": "recomputes",
    "channels_last": "channels_last",
    "compile": "compiles",
    "processes": "processes",
    "augment_on": "augments_on",
}
"""What a study's ``execution`` calls each field."""


@dataclass(frozen=True)
class Engine:
    """What a study's ``execution`` says of the arithmetic of a step.

    Whatever is set here, the loss and its gradient are those of the whole batch; only roundings differ, because sums
    are formed in other orders. On one machine one engine gives the same bits again, also after a kill.

    Args:
        micro_batch: Images that go through the model at once; gradients of a batch's parts add up. None: whole batches.
        recomputes: Whether the backward pass computes the inside of every block anew instead of keeping it.
        channels_last: Whether convolutions run with the channel as the innermost dimension.
        compiles: Whether the forward and backward pass are compiled.
        processes: How many processes share every batch; on GPUs each has one of its own.
        augments_on: Where flips, RandAugment, MixUp and CutMix are computed: ``device``, within the step, or ``host``,
            by the CPU while the last step computes. On a CPU both give the same bits; a GPU rounds otherwise.

    Raises:
        ValueError: If ``micro_batch`` or ``processes`` is below 1, or ``augments_on`` is another word.
    """

    micro_batch: int | None = None
    recomputes: bool = False
    channels_last: bool = False
    compiles: bool = False
    processes: int = 1
    augments_on: str = "device"

    def __post_init__(self) -> None:
        if self.micro_batch is not None and self.micro_batch < 1:
            raise ValueError(f"micro_batch must be at least 1, got {self.micro_batch}")
        if self.processes < 1:
            raise ValueError(f"processes must be at least 1, got {self.processes}")
        if self.augments_on not in ("device", "host"):
            raise ValueError(f"augments_on must be device or host, got {self.augments_on!r}")

    @property
    def words(self) -> dict[str, int | bool | str | None]:
        """The same in the words of a study's ``execution``, as records keep it.

        Example:
            >>> Engine.of(Engine(micro_batch=8).words) == Engine(micro_batch=8)
            True
        """
        return {word: getattr(self, name) for word, name in _WORDS.items()}

    @classmethod
    def of(cls, words: Mapping[str, Any]) -> Engine:
        """The engine of :attr:`words`; what is not said is as usual, and other words are left alone."""
        return cls(**{name: words[word] for word, name in _WORDS.items() if word in words})

    def parts(self, images: int) -> int:
        """Into how many parts of nearly equal size so many images of one process are cut.

        Example:
            >>> Engine().parts(64), Engine(micro_batch=24).parts(64)
            (1, 3)
        """
        return 1 if self.micro_batch is None else -(-images // self.micro_batch)


def halved(engine: Engine, batch_size: int) -> Engine | None:
    """The engine after memory ran out: half as many images at once, twice as many parts, the same batch.

    Args:
        engine: The one that needed too much.
        batch_size: Images a step.

    Returns:
        None where a single image was too much already. Whether the batch may be cut at all is not asked here: where
        its images depend on each other (see ``studies.modes.require_separable``) training refuses.

    Example:
        >>> halved(Engine(), 64).micro_batch, halved(Engine(processes=4), 64).micro_batch
        (32, 8)
        >>> halved(Engine(micro_batch=1), 64) is None
        True
    """
    images = -(-batch_size // engine.processes)
    largest = -(-images // engine.parts(images))
    if largest <= 1:
        return None
    return dataclasses.replace(engine, micro_batch=-(-largest // 2))


PLAIN = Engine()
"""Whole batches in one process, nothing computed twice, nothing compiled."""
