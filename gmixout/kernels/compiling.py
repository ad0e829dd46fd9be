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
        divisible: Arguments that are usually multiples of 16, besides the pointers, which all are.
        options: The launcher's own: warps, stages.
        threads: As many threads should fit the registers of one multiprocessor.
        is_gemm: Whether it multiplies matrices in 16 bits, with tensor cores.
    """

    function: Any
    types: Mapping[str, str]
    constants: Mapping[str, Any]
    divisible: tuple[str, ...]
    options: Mapping[str, Any]
    threads: int = 1024
    is_gemm: bool = False


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What a compiler says of a kernel.

    Attributes:
        registers: Registers of a thread; of vectors on AMD.
        spill_bytes: Bytes of a thread that do not fit them, stored and loaded again.
        shared_bytes: Shared memory of a program.
        has_wgmma: Whether it uses Hopper's tensor core instructions.
        access_bytes: Sizes of a thread's accesses to global memory, from the narrowest.
        doubles: Arithmetic instructions in float64, which are slow on most devices.
        seconds: How long compiling took; nearly nothing where Triton's cache has it (see ``TRITON_ALWAYS_COMPILE``).
        error: If it does not compile, why: one line, and nothing else is known.
    """

    registers: int | None = None
    spill_bytes: int | None = None
    shared_bytes: int | None = None
    has_wgmma: bool | None = None
    access_bytes: tuple[int, ...] | None = None
    doubles: int | None = None
    seconds: float = 0.0
    error: str | None = None


_COINS = dict.fromkeys(("counters", "key_low", "key_high", "head", "tail"), "i32")
_TABLE = {"fields": "*i64", "programs": "*i32", "weights": "i32"}


def _masked(
    function: Any, types: dict[str, str], keep: str | None = None, total: str = "i32", episode: str = "i32",
    **constants: Any,
) -> Kernel:  # fmt: skip
    if keep is None:
        constants["KEEP"] = None
    else:
        types = {**types, "KEEP": keep}
    constants["COUNTERS"] = mixing.COUNTERS_A_PROGRAM
    types = types | _COINS | {"total": total, "episode": episode}
    return Kernel(function, types, constants, ("total", "counters"), mixing.OPTIONS)


def _mix(weight: str, out: str, **others: str) -> Kernel:
    types = {"WEIGHT": f"*{weight}", "ANCHOR": f"*{weight}", "OUT": f"*{out}", "scale": "fp64"}
    return _masked(mixing._mix_kernel, types, **others, STRETCHED=True, COMPUTE=tl.float32)


def _mix_gradient(gradient: str, out: str, **others: str) -> Kernel:
    types = {"GRADIENT": f"*{gradient}", "OUT": f"*{out}", "scale": "fp64"}
    return _masked(mixing._mix_gradient_kernel, types, **others, COMPUTE=tl.float32)


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
    function: Any, numbers: Mapping[str, str], weight: tl.dtype = tl.float32, threads: int = 1024, **switches: bool
) -> Kernel:
    """A kernel over a table, its numbers on the support float32."""
    constants = {**switches, "VALUE": tl.float32, "WEIGHT": weight, "BLOCK": BLOCK}
    return Kernel(function, {**_TABLE, **numbers}, constants, (), support.OPTIONS, threads=threads)


def _gather(kind: str, index: str, gradient: str, dtype: tl.dtype) -> Kernel:
    types = {"gradient": f"*{gradient}", "index": f"*{index}", "out": "*fp32", "scale": "fp64"}
    types |= dict.fromkeys(("slots", "width", "length", "inputs", "patch", "size"), "i32")
    constants = {"KIND": KINDS[kind], "GRADIENT": dtype, "OUT": tl.float32, "BLOCK": BLOCK}
    return Kernel(support._gather_kernel, types, constants, ("slots",), support.OPTIONS)


def _odd(kernel: Kernel) -> Kernel:
    return dataclasses.replace(kernel, divisible=())


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
    "mix fp32 to bf16, 2**31 entries": _mix("fp32", "bf16", total="i64"),
    "mix fp32 to bf16, episode on the device": _mix("fp32", "bf16", episode="*i64"),
    "mix fp32 to bf16, odd size": _odd(_mix("fp32", "bf16")),
    "coins": _masked(mixing._coins_kernel, {"OUT": "*u8"}),
    "cast_and_gather fp32 to bf16": _columns("fp32", "bf16", casts=True),
    "cast_and_gather fp32 to bf16, odd sizes": _odd(_columns("fp32", "bf16", casts=True)),
    "gather_columns bf16": _columns("bf16", "bf16", casts=False),
    "block_gradient 64 bf16": _block_gradient(64, torch.bfloat16, "bf16"),
    "block_gradient 128 bf16": _block_gradient(128, torch.bfloat16, "bf16"),
    "block_gradient 64 fp16": _block_gradient(64, torch.float16, "fp16"),
    "block_gradient 128 fp16": _block_gradient(128, torch.float16, "fp16"),
    "block_gradient 64 fp32": _block_gradient(64, torch.float32, "fp32"),
    "block_gradient 128 fp32": _block_gradient(128, torch.float32, "fp32"),
    "draw": _table(support._draw_kernel, {"episode": "u32"}),
    "write": _table(support._write_kernel, _WRITE, **_PLAIN),
    "write residual, following": _table(support._write_kernel, _WRITE, **_FULL),
    "absorb": _table(support._absorb_kernel, {"old_weight": "fp64"}, IS_HILO=False),
    "absorb hilo": _table(support._absorb_kernel, {"old_weight": "fp64"}, tl.bfloat16, IS_HILO=True),
    "redraw": _table(
        support._redraw_kernel, {"episode": "u32"}, threads=640, IS_HILO=False, IS_RESIDUAL=False, IS_RESETTING=True
    ),
    "redraw hilo": _table(
        support._redraw_kernel, {"episode": "u32"}, tl.bfloat16, threads=640, IS_HILO=True, IS_RESIDUAL=False,
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
    read = _read_nvidia if TARGETS[target].backend == "cuda" else _read_amd
    return dataclasses.replace(read(binary), seconds=seconds)


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


def _read_nvidia(binary: Any) -> Compiled:
    ptx = binary.asm["ptx"]
    plain = re.findall(r"(?:ld|st)\.global[\w.:]*?(?:\.v(\d))?\.[bf](\d+)", ptx)
    copied = re.findall(r"cp\.async\.c[ag]\.shared\.global[\w.:]* \[[^]]*\], \[[^]]*\], 0x(\w+)", ptx)
    widths = {int(count or 1) * int(bits) // 8 for count, bits in plain} | {int(size, 16) for size in copied}
    registers, spill_bytes = _assemble(ptx, binary.metadata.target.arch)
    return Compiled(
        registers,
        spill_bytes,
        binary.metadata.shared,
        has_wgmma="wgmma.mma_async" in ptx,
        access_bytes=tuple(sorted(widths)),
        doubles=len(re.findall(r"\b(?:add|sub|mul|fma|div|sqrt)\.[\w.]*f64", ptx)),
    )


def _assemble(ptx: str, arch: int) -> tuple[int, int]:
    """Registers of a thread, and bytes that it stores for lack of them."""
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "kernel.ptx")
        source.write_text(ptx)
        name = f"sm_{arch}a" if arch >= 90 else f"sm_{arch}"
        command = [get_ptxas(arch).path, "-v", f"--gpu-name={name}", str(source), "-o", str(source.with_suffix(".o"))]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return _number(r"Used (\d+) registers", said), _number(r"(\d+) bytes spill stores", said)


def _read_amd(binary: Any) -> Compiled:
    assembly = binary.asm["amdgcn"]
    found = re.findall(r"\b(?:global|buffer)_(?:load|store)_(?:u|s)?(byte|short|dword(?:x(\d))?)", assembly)
    sizes = {"byte": 1, "short": 2}
    return Compiled(
        _number(r"\.vgpr_count: +(\d+)", assembly),
        4 * _number(r"\.vgpr_spill_count: +(\d+)", assembly),
        binary.metadata.shared,
        has_wgmma=False,
        access_bytes=tuple(sorted({sizes.get(name, 4 * int(count or 1)) for name, count in found})),
        doubles=len(re.findall(r"\bv_(?:add|mul|fma|div|sqrt)\w*_f64", assembly)),
    )


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"the compiler's words have changed: no {pattern} in {text[:2000]}")
    return int(found[1])


def main(targets: list[str]) -> None:
    """Prints what became of every kernel, for the named targets or all."""
    for target in targets or TARGETS:
        for name in KERNELS:
            result = {"kernel": name, "target": target, **dataclasses.asdict(compile_kernel(name, target))}
            sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
