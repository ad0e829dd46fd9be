"""Projected gradient descent on images: the attack of adversarial training and of robust accuracy."""

from collections.abc import Callable

import torch
from torch import Tensor


def pgd(
    loss_of: Callable[[Tensor], Tensor],
    images: Tensor,
    epsilon: float,
    steps: int,
    step_size: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Raises a loss by changing images a little (Madry et al., ICLR 2018, section 2.1).

    .. math:: x_{j+1} = \Pi\big(x_j + \alpha \operatorname{sign} \nabla L(x_j)\big)

    where :math:`\Pi` projects onto the cube :math:`\lVert x - x_0 \rVert_\infty \le \epsilon` within [0, 1]. The last
    point is returned, not the best one. Gradients are taken with respect to the images alone: no ``.grad`` changes.
    Costs ``steps`` passes forward and back through whatever ``loss_of`` calls, whose training mode stays as it is.

    Args:
        loss_of: Images to a scalar. A sum or mean of one term an image, so that images do not disturb each other.
        images: :math:`x_0`, floating point in [0, 1], with the batch first.
        epsilon: Largest change of a pixel value, at least 0; 0 gives the images back.
        steps: Number of steps.
        step_size: :math:`\alpha`.
        generator: Draws the start, uniform in the cube; None starts at the images.

    Returns:
        Images of the same shape, detached; no more than ``epsilon`` away, to rounding.
    """
    if epsilon == 0:
        return images
    images = images.detach()
    lowest, highest = (images - epsilon).clamp_(min=0), (images + epsilon).clamp_(max=1)
    attacked = images
    if generator is not None:
        noise = torch.rand(images.shape, generator=generator, device=generator.device).to(images)
        attacked = (images + epsilon * (2 * noise - 1)).clamp(lowest, highest)
    with torch.enable_grad():
        for _ in range(steps):
            attacked = attacked.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(loss_of(attacked), attacked)
            attacked = (attacked.detach() + step_size * gradient.sign()).clamp(lowest, highest)
    return attacked.detach()
