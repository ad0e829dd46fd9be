"""A table of weights, so that one launch serves them all: what each is, and where its tensors lie.

The table is one int64 tensor on the device with a row a field and a column a weight. A program map names the weight and
the block of slots of each program. Pointers are refreshed only where a tensor moved, without waiting for the device.
"""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from gmixout.kernels.geometry import KINDS, Geometry
from gmixout.kernels.launch import INTERPRETED

# An interpreted program costs milliseconds however few slots it has.
BLOCK = 8192 if INTERPRETED else 1024

_NUMBERS = (
    "kind", "key", "slots", "places", "width", "length", "count", "bits", "group", "inputs", "patch", "size",
    "is_narrow",
)  # fmt: skip
_POINTERS = (
    "weight", "lo", "index", "values", "anchor", "shadow", "exp_avg", "exp_avg_sq", "step", "gradient",
)  # fmt: skip
FIELDS: dict[str, int] = {name: row for row, name in enumerate(_NUMBERS + _POINTERS)}
# These have one number a value and one type a table.
_ON_SUPPORT = ("values", "anchor", "shadow", "exp_avg", "exp_avg_sq", "gradient")


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """One weight of a table.

    Attributes:
        geometry: How its support is drawn and stored.
        key: Philox key, in ``[0, 2**64)``.
        weight: The dense weight: float32, float16, bfloat16 or float64; with ``lo``, the bfloat16 half of a float32.
        index: int16 or int32, ``geometry.places`` entries.
        anchor: The anchor on the support, ``geometry.slots`` numbers; its type is that of all numbers on the support.
        values: Trained values. None with ``lo``, where the weight implies them.
        lo: The int16 half of `gmixout.hilo`, or None.
        shadow: The average that follows every step, or None.
        exp_avg: First moments, or None until the optimiser has them.
        exp_avg_sq: Second moments, or None.
        step: Optimiser's steps, float32, one element, or None.
        gradient: Gradient of the values, or None until there is one.
    """

    geometry: Geometry
    key: int
    weight: Tensor
    index: Tensor
    anchor: Tensor
    values: Tensor | None = None
    lo: Tensor | None = None
    shadow: Tensor | None = None
    exp_avg: Tensor | None = None
    exp_avg_sq: Tensor | None = None
    step: Tensor | None = None
    gradient: Tensor | None = None


class Table:
    """Weights that share the types of their tensors.

    The table keeps the storage of its tensors alive, gradients excepted. A tensor that later gets another storage (by
    ``module.to`` or an assignment to ``.data``) must be named anew with `point`.

    Args:
        entries: The weights, of any kinds and sizes; may be empty.
        device: Where all their tensors lie.

    Attributes:
        fields: int64, shape ``(fields, weights)``: row ``FIELDS[name]``; 0 stands for a tensor that is not there.
        programs: int32, shape ``(programs, 2)``: weight and block of slots of every program over values.
        index_programs: The same over the entries of the indices.
        weights: Number of weights.
        is_hilo: Whether the weights are kept as two halves.
        weight_dtype: Type of the weights (of ``hi``: bfloat16).
        value_dtype: Type of all numbers on the support.

    Raises:
        TypeError: If types differ between weights, or no kernel handles them.
        ValueError: If a tensor is not contiguous, has the wrong size or lies elsewhere.

    Example:
        >>> geometry = Geometry("row", segments=1, length=4, count=2, rows=4, inputs=6)
        >>> entry = Entry(geometry, 7, torch.zeros(4, 6), torch.zeros(2, dtype=torch.int32), torch.zeros(2, 6))
        >>> table = Table([entry], "cpu")
        >>> table.weights, table.programs.tolist(), table.has("shadow")
        (1, [[0, 0]], False)
    """

    def __init__(self, entries: Sequence[Entry], device: torch.device | str) -> None:
        self.weights = len(entries)
        self.device = torch.device(device)
        self._geometries = [entry.geometry for entry in entries]
        self.is_hilo = any(entry.lo is not None for entry in entries)
        self.weight_dtype = entries[0].weight.dtype if entries else torch.float32
        self.value_dtype = entries[0].anchor.dtype if entries else torch.float32
        self._check_types(entries)
        self.fields = torch.zeros(len(FIELDS), self.weights, dtype=torch.int64, device=self.device)
        if entries:
            rows = [_numbers(entry) for entry in entries]
            self.fields[: len(_NUMBERS)] = torch.tensor(rows, dtype=torch.int64).T.to(self.device)
        self._pointed: dict[str, tuple[int, ...]] = {}
        self._held: dict[str, list[Tensor | None]] = {}
        for name in _POINTERS:
            self.point(name, [getattr(entry, name) for entry in entries])
        self.programs = self._program_map([geometry.slots for geometry in self._geometries])
        self.index_programs = self._program_map([geometry.places for geometry in self._geometries])

    def point(self, name: str, tensors: Sequence[Tensor | None]) -> None:
        """Names the tensors of one field, one a weight; costs nothing on the device where none has moved.

        Gradients are not kept alive: they must be when a kernel is launched.

        Args:
            name: Any tensor's name in `Entry`.
            tensors: One for each weight, in order; None where there is none.

        Raises:
            RuntimeError: If pointers change while a CUDA graph is captured, which would not see later changes.
            TypeError, ValueError: As in the constructor.
        """
        pointers = tuple(0 if tensor is None else tensor.data_ptr() for tensor in tensors)
        if self._pointed.get(name) == pointers:
            return
        if len(pointers) != self.weights:
            raise ValueError(f"{name} needs one tensor for each of {self.weights} weights, got {len(pointers)}")
        for geometry, tensor in zip(self._geometries, tensors, strict=True):
            if tensor is not None:
                self._check_tensor(name, tensor, geometry)
        is_cuda = self.device.type == "cuda"
        if is_cuda and torch.cuda.is_current_stream_capturing():
            raise RuntimeError(
                f"{name} moved while a CUDA graph is captured; warm up first and keep the storage of gradients "
                "with zero_grad(set_to_none=False)"
            )
        # Pinned memory goes back to torch's allocator, which waits for the copy before it hands it out again.
        column = torch.tensor(pointers, dtype=torch.int64, pin_memory=is_cuda)
        self.fields[FIELDS[name]].copy_(column, non_blocking=True)
        self._pointed[name] = pointers
        if name != "gradient":
            self._held[name] = [None if tensor is None else tensor.detach() for tensor in tensors]

    def has(self, name: str) -> bool:
        """Whether every weight has a tensor of this name."""
        return all(self._pointed[name])

    def require(self, *names: str) -> None:
        """Raises a ValueError unless every weight has a tensor of each of these names."""
        missing = [name for name in names if not self.has(name)]
        if missing:
            raise ValueError(f"some weights have no {' and no '.join(missing)}; name their tensors with Table.point")

    def _program_map(self, sizes: list[int]) -> Tensor:
        blocks = torch.tensor([-(-size // BLOCK) for size in sizes], dtype=torch.int64)
        weight = torch.arange(self.weights).repeat_interleave(blocks)
        first = (blocks.cumsum(0) - blocks).repeat_interleave(blocks)
        block = torch.arange(len(weight)) - first
        return torch.stack([weight, block], dim=1).to(torch.int32).to(self.device)

    def _check_types(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.weight.dtype != self.weight_dtype or (entry.lo is not None) != self.is_hilo:
                raise TypeError("weights of one table share their type and their storage; make a table for each")
            if self.is_hilo and entry.values is not None:
                raise ValueError("a weight in two halves implies its values; got values as well")
        if self.is_hilo and (self.weight_dtype, self.value_dtype) != (torch.bfloat16, torch.float32):
            raise TypeError(
                f"two halves are bfloat16 with float32 anchors, got {self.weight_dtype} and {self.value_dtype}"
            )
        kinds = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
        if self.weight_dtype not in kinds or self.value_dtype not in kinds:
            raise TypeError(f"weights and values must be of {kinds}, got {self.weight_dtype} and {self.value_dtype}")
        if (self.weight_dtype == torch.float64) != (self.value_dtype == torch.float64):
            raise TypeError(f"float64 goes with float64 only, got {self.weight_dtype} and {self.value_dtype}")

    def _check_tensor(self, name: str, tensor: Tensor, geometry: Geometry) -> None:
        size, dtypes = {
            "weight": (geometry.entries, (self.weight_dtype,)),
            "lo": (geometry.entries, (torch.int16,)),
            "index": (geometry.places, (torch.int16, torch.int32)),
            "step": (1, (torch.float32,)),
        }.get(name, (geometry.slots, (self.value_dtype,)))
        if tensor.dtype not in dtypes:
            raise TypeError(f"{name} must be of {' or '.join(map(str, dtypes))}, got {tensor.dtype}")
        if tensor.numel() != size:
            raise ValueError(f"{name} must have {size} elements, got shape {tuple(tensor.shape)}")
        if not tensor.is_contiguous():
            raise ValueError(f"{name} must be contiguous, got strides {tensor.stride()}; pass tensor.contiguous()")
        if tensor.device != self.fields.device:
            raise ValueError(f"{name} must lie on {self.fields.device}, got {tensor.device}")


def _numbers(entry: Entry) -> list[int]:
    geometry = entry.geometry
    # Tensors hold signed numbers: the key keeps its bits.
    key = entry.key - 2**64 if entry.key >= 2**63 else entry.key
    named = {"kind": KINDS[geometry.kind], "key": key, "is_narrow": int(entry.index.dtype == torch.int16)}
    return [named[name] if name in named else getattr(geometry, name) for name in _NUMBERS]
