"""The order in which training images are seen: a function of (seed, step), with nothing to store or restore."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt


def batch_indices(seed: int, step: int, examples: int, batch_size: int) -> npt.NDArray[np.int64]:
    """Which images the optimiser step uses.

    Every epoch is a fresh permutation drawn from (seed, epoch); its last incomplete batch is left out. Cells with one
    seed see one order, whatever their method.

    Args:
        seed: The cell's seed.
        step: Steps already taken, from 0.
        examples: Images in the training split.
        batch_size: Images a step; all of them where the split is smaller.

    Returns:
        Positions in the split, shape ``(min(batch_size, examples),)``.

    Raises:
        ValueError: If there are no examples.

    Example:
        >>> epoch = np.concatenate([batch_indices(0, step, examples=6, batch_size=2) for step in range(3)])
        >>> sorted(epoch.tolist())
        [0, 1, 2, 3, 4, 5]
    """
    if examples < 1:
        raise ValueError(f"training needs at least one example, got {examples}")
    batch_size = min(batch_size, examples)
    epoch, batch = divmod(step, examples // batch_size)
    return _permutation(seed, epoch, examples)[batch * batch_size : (batch + 1) * batch_size]


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, examples: int) -> npt.NDArray[np.int64]:
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(examples)
