"""MixUp and CutMix: each image of a batch with its neighbour's pixels, and targets to match."""

import math

from scipy.special import betaincinv
from torch import Tensor

from studies.benchmarks.draws import Draws

Box = tuple[int, int, int, int]
"""Top, left, bottom, right in pixels; bottom and right lie outside."""


def mix(
    images: Tensor, targets: Tensor, mixup_alpha: float, cutmix_alpha: float, draws: Draws
) -> tuple[Tensor, Tensor]:
    """Mixes a batch in one of the two ways; if both are on, a fair coin chooses, as in torchvision's references.

    One share is drawn for the whole batch, and each image is mixed with the one before it (the first with the last):
    as in both papers' code and in torchvision. The batch must come in random order.

    Args:
        images: Shape ``(N, channels, height, width)``.
        targets: Probabilities of the classes, shape ``(N, classes)``.
        mixup_alpha: Of MixUp's Beta(alpha, alpha), at least 0; 0 is off.
        cutmix_alpha: Of CutMix's; one of the two must be on.
        draws: Gives coin, share and box.

    Returns:
        Mixed images and targets; the given ones are not changed.

    Raises:
        ValueError: If both are off.
    """
    if mixup_alpha == 0 and cutmix_alpha == 0:
        raise ValueError("mixing needs mixup_alpha or cutmix_alpha above 0, got 0 for both; leave the mixing out")
    coin, share, y, x = draws.uniform(0, 1, (4,)).tolist()
    if cutmix_alpha == 0 or (mixup_alpha > 0 and coin < 0.5):
        return mix_up(images, targets, float(betaincinv(mixup_alpha, mixup_alpha, share)))
    height, width = images.shape[-2:]
    kept = float(betaincinv(cutmix_alpha, cutmix_alpha, share))
    return cut_mix(images, targets, cut_box(kept, int(y * height), int(x * width), height, width))


def mix_up(images: Tensor, targets: Tensor, share: float) -> tuple[Tensor, Tensor]:
    r"""MixUp (Zhang et al., ICLR 2018, section 2).

    .. math:: \tilde x_i = \lambda x_i + (1 - \lambda)\,x_{i-1}, \qquad
              \tilde y_i = \lambda y_i + (1 - \lambda)\,y_{i-1}

    Args:
        images: Shape ``(N, channels, height, width)``.
        targets: Shape ``(N, classes)``.
        share: The image's own share :math:`\lambda`, in [0, 1].
    """
    return (
        images * share + images.roll(1, 0) * (1 - share),
        targets * share + targets.roll(1, 0) * (1 - share),
    )


def cut_mix(images: Tensor, targets: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    """CutMix (Yun et al., ICCV 2019, section 3): the box comes from the neighbour, targets share by area.

    The share is the area that the box truly covers, not the one it was drawn for: boxes are cut off at the borders.

    Args:
        images: Shape ``(N, channels, height, width)``.
        targets: Shape ``(N, classes)``.
        box: What is replaced.
    """
    top, left, bottom, right = box
    height, width = images.shape[-2:]
    share = 1 - (bottom - top) * (right - left) / (height * width)
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images.roll(1, 0)[..., top:bottom, left:right]
    return mixed, targets * share + targets.roll(1, 0) * (1 - share)


def cut_box(share: float, y: int, x: int, height: int, width: int) -> Box:
    """A box of the image's shape around a centre, cut off at the borders, as in torchvision.

    Args:
        share: What the box would leave of the image's area, in [0, 1], if it lay inside.
        y: Row of the centre.
        x: Column of the centre.
        height: Of the image, in pixels.
        width: Of the image, in pixels.

    Example:
        >>> cut_box(0.75, 0, 16, 32, 32)
        (0, 8, 8, 24)
    """
    half = 0.5 * math.sqrt(1 - share)
    down, across = int(half * height), int(half * width)
    return max(y - down, 0), max(x - across, 0), min(y + down, height), min(x + across, width)
