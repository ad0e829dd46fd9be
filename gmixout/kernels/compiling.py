"""Compiles every kernel for devices that are not there: what CI can know of them without a GPU.

``python -m gmixout.kernels.compiling [TARGET ...]`` prints one JSON object a kernel and target. Interpreted kernels
cannot be compiled, so ``TRITON_INTERPRET`` must not be set.
"""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import torch
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource, compile

from gmixout.kernels import adamw, blocks, columns, mixing, support
from gmixout.kernels.geometry import KINDS
from gmixout.kernels.launch import INTERPRETED
from gmixout.kernels.tables import BLOCK

TARGETS: dict[str, GPUTarget] = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel as a launcher calls it on usual tensors.

    Attributes:
        function: The Triton function.
        types: Types of its run-time arguments, as Triton spells them.
        constants: Its compile-time arguments.
        divisible: Arguments that are multiples of 16 besides the pointers, which all are.
        options: Warps, stages.
        threads: As many threads should fit the registers of one multiprocessor.
        is_gemm: Whether it multiplies matrices in 16 bits, with tensor cores.
    """

    function: Any
    types: Mapping[str, str]
    constants: Mapping[str, Any]
    divisible: tuple[str, ...] = ()
    options: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"enable_fp_fusion": True})
    threads: int = 1024
    is_gemm: bool = False


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What a compiler says of a kernel; on AMD only whether it compiles, else ``error`` holds one line.

    Attributes:
        registers: Registers of a thread.
        spill_bytes: Bytes of a thread that do not fit them, stored and loaded again.
        shared_bytes: Shared memory of a program.
        has_wgmma: Whether it uses Hopper's tensor core instructions.
        access_bytes: Widest access of a thread to global memory.
        doubles: Arithmetic instructions in float64, which are slow on most devices.
        seconds: How long compiling took; nearly nothing where Triton's cache has it (see ``TRITON_ALWAYS_COMPILE``).
        error: Why there is none of it.
    """

    registers: int | None = None
    spill_bytes: int | None = None
    shared_bytes: int | None = None
    has_wgmma: bool | None = None
    access_bytes: int | None = None
    doubles: int | None = None
    seconds: float = 0.0
    error: str | None = None


_COINS = dict.fromkeys(("total", "counters", "key_low", "key_high", "episode", "head", "tail"), "i32")
_TABLE = {"fields": "*i64", "programs": "*i32", "weights": "i32"}


def _masked(function: Any, types: dict[str, str], keep: str | None = None, **constants: Any) -> Kernel:
    if keep is None:
        constants["KEEP"] = None
    else:
        types = {**types, "KEEP": keep}
    constants["COUNTERS"] = mixing.COUNTERS_A_PROGRAM
    return Kernel(function, {**types, **_COINS}, constants, ("total", "counters"), mixing.OPTIONS)


def _mix(weight: str, out: str, keep: str | None = None) -> Kernel:
    types = {"WEIGHT": f"*{weight}", "ANCHOR": f"*{weight}", "OUT": f"*{out}", "scale": "fp64"}
    return _masked(mixing._mix_kernel, types, keep, STRETCHED=True, COMPUTE=tl.float32)


def _mix_gradient(gradient: str, out: str, keep: str | None = None) -> Kernel:
    types = {"GRADIENT": f"*{gradient}", "OUT": f"*{out}", "scale": "fp64"}
    return _masked(mixing._mix_gradient_kernel, types, keep, COMPUTE=tl.float32)


def _columns(x: str, out: str, casts: bool) -> Kernel:
    types = {"X": f"*{x}", "CHOSEN": "*i32", "COMPACT": f"*{out}", "rows": "i32", "inputs": "i32", "count": "i32"}
    constants: dict[str, Any] = {"CASTS": casts, "ROWS": columns.ROWS_A_PROGRAM, "COLUMNS": columns.COLUMNS_A_STEP}
    types, constants = ({**types, "CAST": f"*{out}"}, constants) if casts else (types, {**constants, "CAST": None})
    return Kernel(columns._columns_kernel, types, constants, ("inputs", "count"), columns.OPTIONS)


def _block_gradient(size: int, dtype: torch.dtype, name: str) -> Kernel:
    types = {"DY": f"*{name}", "X": f"*{name}", "TILES": "*i32", "PARTS": "*fp32", "scale": "fp32"}
    types |= dict.fromkeys(("tokens", "outputs", "inputs", "part"), "i32")
    constants = {"SIZE": size, "TOKENS": blocks.TOKENS_A_STEP[dtype]}
    # The accumulator alone takes 32 registers a thread at size 64, and 64 at size 128.
    return Kernel(
        blocks._block_kernel, types, constants, ("outputs", "inputs"), blocks.OPTIONS[size],
        threads=384 if size == 64 else 256, is_gemm=dtype != torch.float32,
    )  # fmt: skip


def _table(
    function: Any, numbers: Mapping[str, str], weight: tl.dtype = tl.float32, threads: int = 512, **switches: bool
) -> Kernel:
    """A kernel over a table, its numbers on the support float32. Eight slots a thread take many registers."""
    constants = {**switches, "VALUE": tl.float32, "WEIGHT": weight, "BLOCK": BLOCK}
    return Kernel(function, {**_TABLE, **numbers}, constants, threads=threads)


def _gather(kind: str, index: str, gradient: str, dtype: tl.dtype) -> Kernel:
    types = {"gradient": f"*{gradient}", "index": f"*{index}", "out": "*fp32", "scale": "fp64"}
    types |= dict.fromkeys(("slots", "width", "length", "inputs", "patch", "size"), "i32")
    constants = {"KIND": KINDS[kind], "GRADIENT": dtype, "OUT": tl.float32, "BLOCK": BLOCK}
    return Kernel(support._gather_kernel, types, constants, ("slots",))


_WRITE = {"scale": "fp64", "follow": "fp64"}
_ADAMW = dict.fromkeys(("lr", "beta1", "beta2", "eps", "weight_decay", "scale", "follow"), "fp64")
_PLAIN = {"IS_RESIDUAL": False, "IS_FOLLOWING": False}
_FULL = {"IS_RESIDUAL": True, "IS_FOLLOWING": True}

KERNELS: dict[str, Kernel] = {
    "mix fp32 to bf16": _mix("fp32", "bf16"),
    "mix fp32 to fp32": _mix("fp32", "fp32"),
    "mix fp32 to bf16, stored mask": _mix("fp32", "bf16", keep="*u8"),
    "mix_gradient bf16 to fp32": _mix_gradient("bf16", "fp32"),
    "mix_gradient fp32 to fp32": _mix_gradient("fp32", "fp32"),
    "mix_gradient bf16 to fp32, stored mask": _mix_gradient("bf16", "fp32", keep="*u8"),
    "coins": _masked(mixing._coins_kernel, {"OUT": "*u8"}, keep="*u8"),
    "cast_and_gather fp32 to bf16": _columns("fp32", "bf16", casts=True),
    "gather_columns bf16": _columns("bf16", "bf16", casts=False),
    "block_gradient 64 bf16": _block_gradient(64, torch.bfloat16, "bf16"),
    "block_gradient 128 bf16": _block_gradient(128, torch.bfloat16, "bf16"),
    "block_gradient 64 fp16": _block_gradient(64, torch.float16, "fp16"),
    "block_gradient 128 fp16": _block_gradient(128, torch.float16, "fp16"),
    "block_gradient 64 fp32": _block_gradient(64, torch.float32, "fp32"),
    "block_gradient 128 fp32": _block_gradient(128, torch.float32, "fp32"),
    "draw": _table(support._draw_kernel, {"episode": "u32"}, threads=384),
    "write": _table(support._write_kernel, _WRITE, **_PLAIN),
    "write residual, following": _table(support._write_kernel, _WRITE, **_FULL),
    "absorb": _table(support._absorb_kernel, {"old_weight": "fp64"}, IS_HILO=False),
    "absorb hilo": _table(support._absorb_kernel, {"old_weight": "fp64"}, tl.bfloat16, IS_HILO=True),
    "redraw": _table(
        support._redraw_kernel, {"episode": "u32"}, threads=384, IS_HILO=False, IS_RESIDUAL=False, IS_RESETTING=True
    ),
    "redraw hilo": _table(
        support._redraw_kernel, {"episode": "u32"}, tl.bfloat16, threads=384, IS_HILO=True, IS_RESIDUAL=False,
        IS_RESETTING=True,
    ),
    "gather element bf16": _gather("element", "i16", "bf16", tl.bfloat16),
    "gather block fp32": _gather("block", "i32", "fp32", tl.float32),
    "adamw": _table(adamw._adamw_kernel, _ADAMW, IS_HILO=False, IS_CLIMBING=False, **_PLAIN),
    "adamw residual, following": _table(
        adamw._adamw_kernel, _ADAMW, IS_HILO=False, IS_CLIMBING=False, **_FULL
    ),
    "adamw hilo": _table(
        adamw._adamw_kernel, _ADAMW, tl.bfloat16, IS_HILO=True, IS_CLIMBING=False, **_PLAIN
    ),
}  # fmt: skip


def compile_kernel(name: str, target: str) -> Compiled:
    """Compiles a kernel for a device that need not be there.

    Args:
        name: A key of `KERNELS`.
        target: A key of `TARGETS`.

    Raises:
        ValueError: If either is unknown.
        RuntimeError: If kernels are interpreted.
    """
    if name not in KERNELS or target not in TARGETS:
        raise ValueError(f"no kernel {name!r} or no target {target!r}: there are {list(KERNELS)} and {list(TARGETS)}")
    if INTERPRETED:
        raise RuntimeError("interpreted kernels cannot be compiled: unset TRITON_INTERPRET")
    started = time.perf_counter()
    try:
        binary = compile(_source(KERNELS[name]), target=TARGETS[target], options=dict(KERNELS[name].options))
    # A compiler may fail in any way, and how it does is the result.
    except Exception as error:
        line = (str(error).strip() or repr(error)).splitlines()[-1]
        return Compiled(seconds=time.perf_counter() - started, error=line)
    seconds = time.perf_counter() - started
    if TARGETS[target].backend != "cuda":
        return Compiled(seconds=seconds)
    registers, spill_bytes = _assemble(binary.asm["ptx"], TARGETS[target].arch)
    return Compiled(
        registers,
        spill_bytes,
        binary.metadata.shared,
        has_wgmma="wgmma.mma_async" in binary.asm["ptx"],
        access_bytes=_access_bytes(binary.asm["ptx"]),
        doubles=len(re.findall(r"\b(?:add|sub|mul|fma|div|sqrt)\.[\w.]*f64", binary.asm["ptx"])),
        seconds=seconds,
    )


def _source(kernel: Kernel) -> ASTSource:
    names = kernel.function.arg_names
    types = {name: kernel.types.get(name, "constexpr") for name in names}
    # Without these hints loads are narrow and not pipelined; a launch derives them from the values.
    hints = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(names)
        if types[name].startswith("*") or name in kernel.divisible
    }
    constants = {(names.index(name),): value for name, value in kernel.constants.items() if name in names}
    return ASTSource(fn=kernel.function, signature=types, constexprs=constants, attrs=hints)


def _assemble(ptx: str, arch: int) -> tuple[int, int]:
    """Registers of a thread, and bytes that it stores for lack of them."""
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "kernel.ptx")
        source.write_text(ptx)
        name = f"sm_{arch}a" if arch >= 90 else f"sm_{arch}"
        command = [get_ptxas(arch).path, "-v", f"--gpu-name={name}", str(source), "-o", str(source.with_suffix(".o"))]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    registers = re.search(r"Used (\d+) registers", said)
    spills = re.search(r"(\d+) bytes spill stores", said)
    if registers is None or spills is None:
        raise RuntimeError(f"ptxas named no registers: {said}")
    return int(registers[1]), int(spills[1])


def _access_bytes(ptx: str) -> int:
    found = re.findall(r"(?:ld|st)\.global[\w.:]*?(?:\.v(\d))?\.[bf](\d+)", ptx)
    copied = re.findall(r"cp\.async\.c[ag]\.shared\.global[\w.:]* \[[^]]*\], \[[^]]*\], 0x(\w+)", ptx)
    plain = [int(count or 1) * int(bits) // 8 for count, bits in found]
    return max([*plain, *(int(size, 16) for size in copied)], default=0)


def main(targets: list[str]) -> None:
    """Prints what became of every kernel, for the named targets or all."""
    for target in targets or TARGETS:
        for name in KERNELS:
            result = {"kernel": name, "target": target, **dataclasses.asdict(compile_kernel(name, target))}
            sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
