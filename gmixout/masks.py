"""From units to entries: what a mask of a given granularity keeps in a weight of a given shape."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gmixout.sampling import draw_bernoulli_many, draw_exact, kept_count
from gmixout.settings import Settings


@dataclasses.dataclass(frozen=True)
class MaskPlan:
    """How one weight is masked. Masks are drawn from (seed, name, episode) whenever they are needed.

    Attributes:
        key: Philox key of the tensor, from `gmixout.sampling.tensor_key`.
        shape: Shape of the weight.
        settings: Sparsity, granularity and count are read.

    Raises:
        ValueError: If the granularity needs more dimensions than the weight has, or the weight is empty.

    Example:
        >>> plan = MaskPlan(7, (4, 6), Settings(sparsity=0.5, granularity="row"))
        >>> plan.units, plan.kept_entries, plan.keep(episode=0).sum(dim=1).sort().values.tolist()
        (4, 12, [0, 0, 6, 6])
    """

    key: int
    shape: tuple[int, ...]
    settings: Settings

    def __post_init__(self) -> None:
        if math.prod(self.shape) == 0:
            raise ValueError(f"a masked weight needs at least one entry, got shape {tuple(self.shape)}")
        if self.settings.granularity in ("column", "block") and len(self.shape) < 2:
            raise ValueError(
                f"granularity={self.settings.granularity!r} needs weights of two or more dimensions, "
                f"got shape {tuple(self.shape)}; exclude this weight or use 'element' or 'row'"
            )

    @property
    def entries(self) -> int:
        """Entries of the weight."""
        return math.prod(self.shape)

    @property
    def inputs(self) -> int:
        """Entries of a row: an output feature's."""
        return math.prod(self.shape[1:])

    @property
    def grid(self) -> tuple[int, int]:
        """Units along the outputs and along the inputs (1 where they do not matter)."""
        granularity, rows = self.settings.granularity, self.shape[0]
        if granularity == "element":
            return self.entries, 1
        if granularity == "row":
            return rows, 1
        if granularity == "column":
            return 1, math.ceil(self.shape[1] / self.settings.group_size)
        size = self.settings.block_size
        return math.ceil(rows / size), math.ceil(self.inputs / size)

    @property
    def units(self) -> int:
        """Units that a mask keeps or holds as one."""
        return math.prod(self.grid)

    @functools.cached_property
    def segments(self) -> tuple[int, int, int]:
        """Segments of units, units of a segment, and units that an exact mask keeps of each: rounded, and never none.

        Entries are drawn within groups of whole rows, so that a part of the rows holds its own part of the support:
        the smallest groups that divide the rows and round the count by little. Other units are one segment.
        """
        length = self.units
        if self.settings.granularity == "element":
            # 1024 entries round the kept share by at most .0005, and 32 kept ones by at most 2 % of itself.
            enough = max(1024.0, 32.0 / (1.0 - self.settings.sparsity))
            groups = (size for size in range(1, self.shape[0] + 1) if self.shape[0] % size == 0)
            length = next((size for size in groups if size * self.inputs >= enough), self.shape[0]) * self.inputs
        return self.units // length, length, kept_count(length, self.settings.sparsity)

    @property
    def kept_units(self) -> int:
        """Units that an exact mask keeps."""
        segments, _, count = self.segments
        return segments * count

    @property
    def is_rounded_up(self) -> bool:
        """Whether the sparsity rounds to no unit at all, so that an exact mask keeps one all the same."""
        return self.settings.count == "exact" and round((1.0 - self.settings.sparsity) * self.segments[1]) == 0

    @property
    def chance_of_nothing(self) -> float:
        """The probability that an episode keeps nothing of the weight: 0 for exact counts."""
        return 0.0 if self.settings.count == "exact" else float(self.settings.sparsity**self.units)

    @property
    def has_equal_units(self) -> bool:
        """Whether every unit holds the same number of entries, so that exact masks never change size."""
        granularity = self.settings.granularity
        if granularity == "column":
            return self.shape[1] % self.settings.group_size == 0
        if granularity == "block":
            return self.shape[0] % self.settings.block_size == 0 and self.inputs % self.settings.block_size == 0
        return True

    @property
    def kept_entries(self) -> int:
        """Entries that a mask keeps: exact for exact counts and equal units, else the expectation rounded."""
        if self.settings.count == "exact":
            return round(self.kept_units * self.entries / self.units)
        return round((1.0 - self.settings.sparsity) * self.entries)

    def keep(self, episode: int, device: torch.device | str = "cpu") -> Tensor:
        """The mask M, bool, shape of the weight; true where the entry is trainable."""
        return keep_all([self], episode, device)[0]

    def _draw_exact(self, episode: int, device: torch.device | str) -> Tensor:
        segments, length, count = self.segments
        kept = torch.zeros(segments, length, dtype=torch.bool, device=device)
        return kept.scatter_(1, draw_exact(self.key, episode, segments, length, count, device).long(), True).view(-1)

    def _spread(self, kept: Tensor) -> Tensor:
        granularity, size = self.settings.granularity, self.settings.block_size
        if granularity == "element":
            return kept.reshape(self.shape)
        if granularity == "row":
            return kept.reshape(-1, *[1] * (len(self.shape) - 1)).expand(self.shape).contiguous()
        if granularity == "column":
            features = kept.repeat_interleave(self.settings.group_size)[: self.shape[1]]
            return features.reshape(1, -1, *[1] * (len(self.shape) - 2)).expand(self.shape).contiguous()
        tiles = kept.reshape(self.grid).repeat_interleave(size, 0).repeat_interleave(size, 1)
        return tiles[: self.shape[0], : self.inputs].reshape(self.shape)


def keep_all(plans: Sequence[MaskPlan], episode: int, device: torch.device | str = "cpu") -> list[Tensor]:
    """`MaskPlan.keep` of many weights; coins of weights of one size are flipped together.

    Example:
        >>> plans = [MaskPlan(key, (4, 6), Settings(count="bernoulli")) for key in (1, 2)]
        >>> torch.equal(keep_all(plans, episode=3)[1], plans[1].keep(episode=3))
        True
    """
    kept: dict[int, Tensor] = {}
    alike: dict[tuple[int, float], list[int]] = {}
    for number, plan in enumerate(plans):
        if plan.settings.count == "exact":
            kept[number] = plan._draw_exact(episode, device)
        else:
            alike.setdefault((plan.units, plan.settings.sparsity), []).append(number)
    for (units, sparsity), numbers in alike.items():
        drawn = draw_bernoulli_many([plans[number].key for number in numbers], episode, units, sparsity, device)
        kept.update(zip(numbers, drawn, strict=True))
    return [plan._spread(kept[number]) for number, plan in enumerate(plans)]
