"""Writes short texts beside crowded points, with a hair to the point where one had to move away."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from analysis.figures.placement import RADII, place_labels


def write_beside(
    axes: Axes,
    points: npt.ArrayLike,
    texts: Sequence[str],
    colors: Sequence[str],
    marks: npt.ArrayLike,
    inches: tuple[float, float],
    size: float = 6.3,
    weight: str = "normal",
) -> None:
    """Writes a text beside each point, off the others and inside the axes.

    Args:
        axes: Axes whose limits are final; the horizontal one may be logarithmic.
        points: In the units of the axes, shape ``(points, 2)``.
        texts: What to write, one a point.
        colors: In which colour each.
        marks: Diameter of each point's marker, in typographic points, shape ``(points,)``.
        inches: Width and height of the axes, about.
        size: Of the letters, in typographic points.
        weight: Of the letters, as matplotlib names it.
    """
    limits = np.array([axes.get_xlim(), axes.get_ylim()])
    given = np.array(points, dtype=float).reshape(-1, 2)
    values = given.copy()
    if axes.get_xscale() == "log":
        limits[0], values[:, 0] = np.log(limits[0]), np.log(values[:, 0])
    canvas = 72.0 * np.array(inches)
    places = (values - limits[:, 0]) / (limits[:, 1] - limits[:, 0]) * canvas
    # A digit is two thirds as wide as it is high.
    sizes = np.array([(0.667 * size * len(text) + 1.0, size + 0.3) for text in texts]).reshape(-1, 2)
    centres = place_labels(places, sizes, marks, (canvas[0], canvas[1]))
    for point, text, color, place, centre in zip(given, texts, colors, places, centres, strict=True):
        arrow = {"arrowstyle": "-", "color": color, "lw": 0.4, "shrinkA": 0, "shrinkB": 2, "alpha": 0.8}
        reach = RADII[1] + 0.1 + max(0.0, 0.3335 * size * (len(text) - 2))
        is_far = float(np.linalg.norm(centre - place)) > reach
        written = axes.annotate(
            text, (point[0], point[1]), xytext=tuple(centre - place), textcoords="offset points", ha="center",
            va="center", fontsize=size, fontweight=weight, color=color, zorder=8, annotation_clip=False,
            arrowprops=arrow if is_far else None,
        )  # fmt: skip
        written.set_path_effects([withStroke(linewidth=1.3, foreground="white")])
