"""Writes short texts beside crowded points, with a hair to the point where one had to move away."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Affine2D

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
    hairs, hair_colors, ends = [], [], []
    for point, text, color, place, centre, box in zip(given, texts, colors, places, centres, sizes, strict=True):
        moved = centre - place
        written = axes.annotate(
            text, (point[0], point[1]), xytext=tuple(moved), textcoords="offset points", ha="center",
            va="center", fontsize=size, fontweight=weight, color=color, zorder=8, annotation_clip=False,
        )  # fmt: skip
        written.set_path_effects([withStroke(linewidth=1.3, foreground="white")])
        # It lies inside the axes: measured for their layout, hundreds of texts cost more than all else.
        written.set_in_layout(False)
        reach = RADII[1] + 0.1 + max(0.0, 0.3335 * size * (len(text) - 2))
        if float(np.linalg.norm(moved)) > reach:
            hairs.append(_hair(moved, box))
            hair_colors.append(color)
            ends.append(point)
    if hairs:
        # Every hair in typographic points from its own point, all of them one thing to draw.
        points_to_pixels = Affine2D().scale(1 / 72) + axes.figure.dpi_scale_trans
        lines = LineCollection(
            hairs, colors=hair_colors, linewidths=0.4, alpha=0.8, zorder=8, clip_on=False,
            offsets=ends, offset_transform=axes.transData,
        )  # fmt: skip
        lines.set_transform(points_to_pixels)
        lines.set_in_layout(False)
        axes.add_collection(lines, autolim=False)


def _hair(moved: npt.NDArray[np.float64], box: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    """From the edge of a text's box, whose centre lies at ``moved``, to just before the point at the origin."""
    length = float(np.linalg.norm(moved))
    with np.errstate(divide="ignore"):
        inside = float(np.min(box / 2 / np.abs(moved)))
    start, end = moved * max(0.0, 1.0 - inside), moved * min(1.0, 2.0 / length)
    return [(float(start[0]), float(start[1])), (float(end[0]), float(end[1]))]
