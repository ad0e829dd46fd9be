"""How a training step is carried out on a machine: memory and speed, never what is computed. Needs no torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


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

    Raises:
        ValueError: If ``micro_batch`` or ``processes`` is below 1.
    """

    micro_batch: int | None = None
    recomputes: bool = False
    channels_last: bool = False
    compiles: bool = False
    processes: int = 1

    def __post_init__(self) -> None:
        if self.micro_batch is not None and self.micro_batch < 1:
            raise ValueError(f"micro_batch must be at least 1, got {self.micro_batch}")
        if self.processes < 1:
            raise ValueError(f"processes must be at least 1, got {self.processes}")

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
