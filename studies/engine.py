"""How a training step is carried out on a machine: what it needs of memory, never what it computes. Needs no torch."""

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

    Raises:
        ValueError: If ``micro_batch`` is below 1.
    """

    micro_batch: int | None = None

    def __post_init__(self) -> None:
        if self.micro_batch is not None and self.micro_batch < 1:
            raise ValueError(f"micro_batch must be at least 1, got {self.micro_batch}")

    def parts(self, images: int) -> int:
        """Into how many parts of nearly equal size so many images are cut.

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
        >>> halved(Engine(), 64)
        Engine(micro_batch=32)
        >>> halved(Engine(micro_batch=1), 64) is None
        True
    """
    parts = engine.parts(batch_size)
    largest = -(-batch_size // parts)
    if largest <= 1:
        return None
    return dataclasses.replace(engine, micro_batch=-(-largest // 2))


PLAIN = Engine()
"""Whole batches."""
