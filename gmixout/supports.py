"""Where the kept entries of a weight lie: compact values on the support, in and out of the dense weight.

The shape of the values follows the granularity, so that whatever is stored for a support is as small as it can be, and
an index needs one number a unit: entries of a segment of rows, whole rows, whole columns, or whole tiles.
"""

import functools
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gmixout.kernels.geometry import Geometry
from gmixout.masks import MaskPlan
from gmixout.sampling import draw_exact_many


class Support:
    """The support of one weight under exact masks of equal units: it moves, but never changes size.

    Args:
        plan: How the weight is masked; ``plan.has_equal_units`` and exact counts are needed.

    Attributes:
        plan: The same.
        shape: Shape of the values on the support.
        index_dtype: int16 or int32, whichever holds a unit's number.

    Example:
        >>> from gmixout.settings import Settings
        >>> support = support_of(MaskPlan(7, (4, 6), Settings(sparsity=0.5, granularity="column")))
        >>> index = support.draw(episode=0)
        >>> weight = torch.arange(24.0).reshape(4, 6)
        >>> torch.equal(support.gather(weight, index), weight[:, index])
        True
    """

    shape: tuple[int, ...]

    def __init__(self, plan: MaskPlan) -> None:
        self.plan = plan
        self.segments, self.length, self.count = plan.segments
        self.rows, self.inputs = plan.shape[0], plan.inputs
        self.index_dtype = torch.int32

    @functools.cached_property
    def geometry(self) -> Geometry:
        """The same support as kernels see it."""
        kernel = math.prod(self.plan.shape[2:])
        granularity, settings = self.plan.settings.granularity, self.plan.settings
        size = {"column": settings.group_size, "block": settings.block_size}.get(granularity, 1)
        patch = kernel if granularity == "column" else 1
        units = (self.segments, self.length, self.count)
        return Geometry(granularity, *units, rows=self.rows, inputs=self.inputs, patch=patch, size=size)

    def draw(self, episode: int, device: torch.device | str = "cpu") -> Tensor:
        """The index of an episode's support: numbers of the kept units."""
        return draw_all([self], episode, device)[0]

    def gather(self, dense: Tensor, index: Tensor) -> Tensor:
        """The values on the support, a new tensor of ``shape``, of a contiguous dense one of the weight's shape."""
        raise NotImplementedError

    def scatter(self, dense: Tensor, index: Tensor, values: Tensor) -> None:
        """Writes values into a dense tensor in place; whatever is off the support stays as it is."""
        raise NotImplementedError

    def positions(self, index: Tensor) -> Tensor:
        """Flat positions of the support in the weight, int64, shape ``shape``."""
        flat = torch.arange(self.plan.entries, device=index.device).view(self.plan.shape)
        return self.gather(flat, index)

    def _units(self, drawn: Tensor) -> Tensor:
        return drawn.view(-1)


class ElementSupport(Support):
    """Single entries: values ``(segments, count)``; the index holds positions within each segment of rows."""

    def __init__(self, plan: MaskPlan) -> None:
        super().__init__(plan)
        self.shape = (self.segments, self.count)
        self.index_dtype = torch.int16 if self.length <= 2**15 else torch.int32

    def _units(self, drawn: Tensor) -> Tensor:
        return drawn

    def gather(self, dense: Tensor, index: Tensor) -> Tensor:
        return dense.view(-1).index_select(0, self._flat(index)).view(self.shape)

    def scatter(self, dense: Tensor, index: Tensor, values: Tensor) -> None:
        dense.view(-1).index_copy_(0, self._flat(index), values.reshape(-1))

    def positions(self, index: Tensor) -> Tensor:
        return self._flat(index).view(self.shape)

    def _flat(self, index: Tensor) -> Tensor:
        starts = torch.arange(0, self.segments * self.length, self.length, device=index.device)
        return (index + starts[:, None]).view(-1)


class RowSupport(Support):
    """Whole output features: values ``(chosen, inputs)``; the index holds row numbers."""

    def __init__(self, plan: MaskPlan) -> None:
        super().__init__(plan)
        self.shape = (self.count, self.inputs)

    def gather(self, dense: Tensor, index: Tensor) -> Tensor:
        return dense.view(self.rows, self.inputs).index_select(0, index)

    def scatter(self, dense: Tensor, index: Tensor, values: Tensor) -> None:
        dense.view(self.rows, self.inputs).index_copy_(0, index.long(), values)


class ColumnSupport(Support):
    """Whole input features: values ``(rows, chosen * kernel entries)``; the index holds column numbers."""

    def __init__(self, plan: MaskPlan) -> None:
        super().__init__(plan)
        self.group = plan.settings.group_size
        self.kernel = math.prod(plan.shape[2:])
        self.columns = self.count * self.group
        self.shape = (self.rows, self.columns * self.kernel)

    def _units(self, drawn: Tensor) -> Tensor:
        within = torch.arange(self.group, dtype=drawn.dtype, device=drawn.device)
        return (drawn.view(-1, 1) * self.group + within).view(-1)

    def gather(self, dense: Tensor, index: Tensor) -> Tensor:
        return self._grouped(dense).index_select(1, self._groups(index)).view(self.shape)

    def scatter(self, dense: Tensor, index: Tensor, values: Tensor) -> None:
        self._grouped(dense).index_copy_(1, self._groups(index).long(), self._grouped(values))

    def _grouped(self, dense: Tensor) -> Tensor:
        # Neighbours move together: ten times faster than one by one in groups of 16 on a CPU.
        return dense.view(self.rows, -1, self.group * self.kernel)

    def _groups(self, index: Tensor) -> Tensor:
        return index if self.group == 1 else index[:: self.group] // self.group


class BlockSupport(Support):
    """Whole tiles: values ``(chosen, size, size)``; the index numbers tiles row by row."""

    def __init__(self, plan: MaskPlan) -> None:
        super().__init__(plan)
        self.size = plan.settings.block_size
        self.across = self.inputs // self.size
        self.shape = (self.count, self.size, self.size)

    def _tiles(self, dense: Tensor) -> Tensor:
        tiled = dense.view(self.rows // self.size, self.size, self.across, self.size)
        return tiled.transpose(1, 2)

    def gather(self, dense: Tensor, index: Tensor) -> Tensor:
        tile = index.long()
        return self._tiles(dense)[tile // self.across, tile % self.across]

    def scatter(self, dense: Tensor, index: Tensor, values: Tensor) -> None:
        tile = index.long()
        self._tiles(dense)[tile // self.across, tile % self.across] = values


SUPPORTS: Mapping[str, type[Support]] = {
    "element": ElementSupport,
    "row": RowSupport,
    "column": ColumnSupport,
    "block": BlockSupport,
}


def draw_all(supports: Sequence[Support], episode: int, device: torch.device | str = "cpu") -> list[Tensor]:
    """`Support.draw` of many weights; those of one size are drawn together."""
    alike: dict[tuple[int, int, int], list[int]] = {}
    for number, support in enumerate(supports):
        alike.setdefault((support.segments, support.length, support.count), []).append(number)
    found: dict[int, Tensor] = {}
    for units, numbers in alike.items():
        drawn = draw_exact_many([supports[number].plan.key for number in numbers], episode, *units, device)
        found.update(zip(numbers, drawn, strict=True))
    return [one._units(found[number]).to(one.index_dtype) for number, one in enumerate(supports)]


def support_of(plan: MaskPlan) -> Support:
    """The support of a weight, by its granularity."""
    return SUPPORTS[plan.settings.granularity](plan)
