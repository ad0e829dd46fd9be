"""Heat maps of numbers: how one is drawn, for every figure that has them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from analysis import theme
from analysis.probabilities import Floats


def draw_map(values: Floats, limits: tuple[float, float], response: str, axes: Axes) -> AxesImage:
    """Draws fractions as colours with their percent written in.

    Args:
        values: Shape ``(down, across)``, NaN where there is none; the first row is drawn lowest.
        limits: The fractions of the palest and the darkest colour.
        response: Whose colours, a key of ``theme.COLORMAPS``.
        axes: Where; its ticks are the caller's.
    """
    low, high = limits
    image = axes.imshow(values, origin="lower", aspect="auto", cmap=theme.COLORMAPS[response], vmin=low, vmax=high)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            is_dark = high > low and (value - low) / (high - low) > 0.6
            axes.text(column, row, f"{100 * value:.1f}", ha="center", va="center", fontsize=6.8,
                      color="white" if is_dark else "#222222")  # fmt: skip
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return image
