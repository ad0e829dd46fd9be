"""Where the values of a support lie in a weight: four kinds of support, each compact and without gaps.

This file needs no Triton. `gmixout.kernels.tables` holds the same arithmetic for kernels.
"""

import dataclasses
import math

from gmixout.sampling import permutation_bits

KINDS: dict[str, int] = {"element": 0, "row": 1, "column": 2, "block": 3}
# Slots are counted in int32 inside kernels, whose last block may overhang.
_MAXIMUM_SLOTS = 2**31 - 2**20


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How a support of one weight is drawn and stored.

    With values of shape ``(a, b)`` and slots counted row by row:

    | kind | values | index | flat position of ``values[a, b]`` |
    |---|---|---|---|
    | element | ``(segments, count)`` | positions in the segments, the same shape | ``a * length + index[a, b]`` |
    | row | ``(count, inputs)`` | row numbers, ``(count,)`` | ``index[a] * inputs + b`` |
    | column | ``(rows, count * size * patch)`` | columns, ``(count * size,)`` | ``a * inputs + index[b // patch] * patch + b % patch`` |
    | block | ``(count, size, size)``, seen as ``(count, size * size)`` | tile numbers t, row by row, ``(count,)`` | row ``t // (inputs // size) * size + b // size``, column ``t % (inputs // size) * size + b % size`` |

    Attributes:
        kind: A key of `KINDS`.
        segments: Segments of the weight; 1 unless ``kind`` is element.
        length: Units of a segment: entries, rows, groups of columns or tiles.
        count: Units that are kept of each segment.
        rows: First dimension of the weight.
        inputs: Entries of a row.
        patch: Entries of a column in one row: the kernel's of a convolution, else 1.
        size: Columns of a group, or the side of a tile; 1 elsewhere.

    Raises:
        ValueError: If the numbers contradict each other, or a support has 2**31 values.

    Example:
        >>> Geometry("column", segments=1, length=8, count=2, rows=5, inputs=8).shape
        (5, 2)
    """  # noqa: E501

    kind: str
    segments: int
    length: int
    count: int
    rows: int
    inputs: int
    patch: int = 1
    size: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if not 1 <= self.count <= self.length:
            raise ValueError(f"count must lie in [1, {self.length}], got {self.count}")
        if self.segments != 1 and self.kind != "element":
            raise ValueError(f"a {self.kind} support has one segment, got {self.segments}")
        if self.entries != self.rows * self.inputs:
            raise ValueError(f"{self} describes {self.entries} entries of a weight of {self.rows * self.inputs}")
        if self.kind == "block" and (self.rows % self.size or self.inputs % self.size):
            raise ValueError(f"tiles of {self.size} do not cover ({self.rows}, {self.inputs})")
        if max(self.slots, self.inputs) > _MAXIMUM_SLOTS:
            raise ValueError(f"a kernel handles at most {_MAXIMUM_SLOTS} values of one weight, got {self.slots}")

    @property
    def entries(self) -> int:
        """Entries of the weight, as the units count them."""
        unit = {"element": 1, "row": self.inputs, "column": self.rows * self.patch * self.size, "block": self.size**2}
        return self.segments * self.length * unit[self.kind]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return {
            "element": (self.segments, self.count),
            "row": (self.count, self.inputs),
            "column": (self.rows, self.count * self.size * self.patch),
            "block": (self.count, self.size, self.size),
        }[self.kind]

    @property
    def slots(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def width(self) -> int:
        """Values of one row of the values: b runs over them."""
        return self.slots // self.shape[0]

    @property
    def places(self) -> int:
        """Entries of the index."""
        return self.segments * self.count * self.group

    @property
    def group(self) -> int:
        """Entries of the index that one drawn unit becomes."""
        return self.size if self.kind == "column" else 1

    @property
    def bits(self) -> int:
        """Bits of the permuted domain."""
        return permutation_bits(self.length)
