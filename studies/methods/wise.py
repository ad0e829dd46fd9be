"""WiSE-FT: models on the straight line between the pretrained and the fine-tuned weights."""

from torch import Tensor


def interpolate(pretrained: dict[str, Tensor], fine_tuned: dict[str, Tensor], alpha: float) -> dict[str, Tensor]:
    r"""Mixes two state dicts over all keys.

    .. math:: \theta(\alpha) = (1 - \alpha)\,\theta_\text{pretrained} + \alpha\,\theta_\text{fine-tuned}

    The coefficient weighs the FINE-TUNED side, as in Wortsman et al. (CVPR 2022), section 3. Tensors that are not
    floating point (counters) are taken from the fine-tuned side.

    Args:
        pretrained: State dict of the pretrained model.
        fine_tuned: State dict with the same keys and shapes.
        alpha: In [0, 1]; 0 and 1 give the two ends exactly.

    Raises:
        ValueError: If ``alpha`` is out of range or the keys differ.

    Example:
        >>> import torch
        >>> interpolate({"w": torch.tensor([0.0])}, {"w": torch.tensor([2.0])}, 0.25)
        {'w': tensor([0.5000])}
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}")
    if different := pretrained.keys() ^ fine_tuned.keys():
        raise ValueError(f"both models must have the same keys, but only one has {sorted(different)[0]!r}")
    return {
        name: (1 - alpha) * pretrained[name] + alpha * tensor if tensor.is_floating_point() else tensor
        for name, tensor in fine_tuned.items()
    }
