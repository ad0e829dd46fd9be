"""The figures of the benchmark: alpha masks of handwritten digits (real scans) and of rendered type.

Handwriting is the UCI set "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998, CC BY 4.0),
whose 1 797 test scans of 8x8 pixels ship with scikit-learn. Type is rendered from the TrueType faces bundled with
matplotlib and serves pretraining only, so no test image depends on a font or on the version of FreeType.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from studies.benchmarks.filters import cubic

SIZE = 32
"""Side of every mask and image, in pixels."""

FACES = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmss10", "cmtt10", "cmti10"),
)
"""Complete Latin faces with lining digits; the symbol, size and display faces lack digits or draw boxes."""

_SCAN = 8
_PADDED = 10


@functools.cache
def scans() -> tuple[np.ndarray, np.ndarray]:
    """The scans in the order of the set: masks in [0, 1] of shape ``(1797, 8, 8)`` and labels ``int64``."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images / 16.0, digits.target.astype(np.int64)


def enlarge(scan: np.ndarray) -> np.ndarray:
    """Turns 8x8 scans into crisp 32x32 masks.

    Pads to 10x10, interpolates (Catmull-Rom) and sharpens by a sigmoid, scaled so that blank paper is exactly 0.

    Args:
        scan: Ink in [0, 1], shape ``(N, 8, 8)``.

    Returns:
        Masks in [0, 1], shape ``(N, 32, 32)``.
    """
    inner = cubic(SIZE, _PADDED).astype(scan.dtype)[:, 1:-1]
    ink = np.clip(inner @ scan @ inner.T, 0, 1)
    low, high = (1 / (1 + np.exp(-8 * (edge - 0.45))) for edge in (0.0, 1.0))
    alpha = (1 / (1 + np.exp(-8 * (ink - 0.45))) - low) / (high - low)
    return np.clip(alpha, 0, 1)


def through_scanner(alpha: np.ndarray) -> np.ndarray:
    """Passes masks ``(N, 32, 32)`` through the 8x8 grid of 17 grey levels that real scans went through."""
    reduce = _reduction().astype(alpha.dtype)
    return enlarge((np.floor(reduce @ alpha @ reduce.T * 16 + 0.5) / 16).astype(alpha.dtype))


@functools.cache
def _reduction() -> np.ndarray:
    """Averages over the 8 central of 10 equal cells per axis, as a matrix ``(8, 32)``."""
    edges = np.arange(1, _PADDED) * SIZE / _PADDED
    pixels = np.arange(SIZE)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(overlap, 0, None) * _PADDED / SIZE


@functools.cache
def typefaces(height: int = 22) -> np.ndarray:
    """Rendered digits, each cropped, centred and ``height`` pixels tall.

    Rests on the faces of the installed matplotlib and on the FreeType of the installed Pillow.

    Returns:
        Masks in [0, 1], ``float64``, shape ``(faces, 10, 32, 32)``.
    """
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    masks = np.zeros((len(FACES), 10, SIZE, SIZE))
    for row, face in enumerate(FACES):
        font = ImageFont.truetype(str(folder / f"{face}.ttf"), 96)
        for digit in range(10):
            canvas = Image.new("L", (192, 192))
            ImageDraw.Draw(canvas).text((48, 32), str(digit), font=font, fill=255)
            glyph = canvas.crop(canvas.getbbox())
            width = max(2, round(glyph.width * height / glyph.height))
            small = np.asarray(glyph.resize((width, height), Image.Resampling.BOX)) / 255.0
            top, left = (SIZE - height) // 2, (SIZE - width) // 2
            masks[row, digit, top : top + height, left : left + width] = small
    masks.flags.writeable = False
    return masks
