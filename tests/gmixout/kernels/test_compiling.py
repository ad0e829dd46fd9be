"""Every kernel compiles for devices that are not here, well enough, and as its launcher launches it."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import torch
import triton.language as tl

from benchmarks.stored import RESULTS
from gmixout.kernels import adamw, blocks, columns, compiling, mixing, support
from gmixout.kernels.compiling import KERNELS, TARGETS
from gmixout.kernels.geometry import Geometry
from gmixout.kernels.tables import Entry, Table

SHARED_BYTES = {"sm_80": 163 * 1024, "sm_90": 227 * 1024, "gfx942": 64 * 1024}
REGISTERS = 65536
# Four neighbours a thread where a coin is drawn or looked up: float32, half precision and a byte of mask.
WIDTHS = {
    "mix fp32 to fp32": (16,),
    "mix fp32 to bf16": (8, 16),
    "mix fp32 to bf16, 2**31 entries": (8, 16),
    "mix fp32 to bf16, stored mask": (4, 8, 16),
    "mix_gradient fp32 to fp32": (16,),
    "mix_gradient bf16 to fp32": (8, 16),
    "mix_gradient bf16 to fp32, stored mask": (4, 8, 16),
    "coins": (4,),
    # Chosen columns are read one by one, and their numbers two by two.
    "cast_and_gather fp32 to bf16": (4, 8, 16),
    "gather_columns bf16": (2, 8, 16),
}


def complaints(result):
    """What is wrong with a compiled kernel."""
    name, target, kernel = result["kernel"], result["target"], KERNELS[result["kernel"]]
    if result["error"]:
        return [result["error"]]
    found = []
    if result["spill_bytes"]:
        found.append(f"spills {result['spill_bytes']} bytes")
    if result["shared_bytes"] > SHARED_BYTES[target]:
        found.append(f"takes {result['shared_bytes']} bytes of shared memory")
    if target != "gfx942" and result["registers"] * kernel.threads > REGISTERS:
        found.append(f"{result['registers']} registers a thread leave no room for {kernel.threads} threads")
    if target != "gfx942" and tuple(result["access_bytes"]) != WIDTHS.get(name, tuple(result["access_bytes"])):
        found.append(f"accesses memory by {result['access_bytes']} bytes")
    if result["has_wgmma"] != (kernel.is_gemm and target == "sm_90"):
        found.append(f"has_wgmma is {result['has_wgmma']}")
    if kernel.is_gemm and max(result["access_bytes"]) != 16:
        found.append(f"accesses memory by {result['access_bytes']} bytes")
    return found


# One process compiles them all, because interpreted kernels cannot be compiled; Triton's cache makes later runs short.
def test_every_kernel_compiles_well():
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-W", "error", "-m", "gmixout.kernels.compiling"]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    results = [json.loads(line) for line in ran.stdout.splitlines()]
    assert {(result["kernel"], result["target"]) for result in results} == {(k, t) for k in KERNELS for t in TARGETS}
    wrong = [f"{result['kernel']}, {result['target']}: {'; '.join(complaints(result))}" for result in results
             if complaints(result)]  # fmt: skip
    assert not wrong, "\n".join(wrong)


def test_the_stored_table_names_every_kernel_and_target():
    table = pd.read_csv(RESULTS / "kernel_compilation.csv")
    assert set(zip(table["kernel"], table["target"], strict=True)) == {(k, t) for k in KERNELS for t in TARGETS}
    assert (table["spill_bytes"] == 0).all(), "run benchmarks/kernel_compilation.py"


def test_interpreted_kernels_and_unknown_names_are_refused():
    with pytest.raises(RuntimeError, match="unset TRITON_INTERPRET"):
        compiling.compile_kernel("coins", "sm_90")
    with pytest.raises(ValueError, match=r"no kernel 'coin'.*'sm_80', 'sm_90', 'gfx942'"):
        compiling.compile_kernel("coin", "sm_90")


TYPES = {
    torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16", torch.uint8: "u8", torch.int16: "i16",
    torch.int32: "i32", torch.int64: "i64",
}  # fmt: skip


class Launch:
    """Stands in for a kernel: remembers its arguments and runs nothing."""

    def __init__(self, kernel):
        self.kernel = kernel

    def __getitem__(self, grid):
        return self

    def __call__(self, *arguments, **others):
        self.arguments = dict(zip(self.kernel.arg_names, arguments, strict=False)) | others

    def options(self):
        return {name: value for name, value in self.arguments.items() if name not in self.kernel.arg_names}

    def differences(self, compiled):
        """Where a kernel of `KERNELS` is not what was launched."""
        assert set(compiled.types) | set(compiled.constants) >= set(self.kernel.arg_names)
        annotated = self.kernel.fn.__annotations__
        specialised = set(self.kernel.arg_names) - set(self.kernel.kwargs["do_not_specialize"] or ())
        for name in self.kernel.arg_names:
            value = self.arguments[name]
            if isinstance(value, torch.Tensor):
                expected, got = "*" + TYPES[value.dtype], compiled.types.get(name)
            elif annotated.get(name) is tl.constexpr or value is None:
                expected, got = value, compiled.constants.get(name, "missing")
            elif isinstance(value, float):
                expected, got = "fp64" if annotated.get(name) == tl.float64 else "fp32", compiled.types.get(name)
            else:
                hinted = name in specialised and value % 16 == 0
                expected = "u32" if annotated.get(name) == tl.uint32 else "i32", hinted
                got = compiled.types.get(name), name in compiled.divisible
            if expected != got:
                yield f"{name}: launched {expected}, compiled {got}"


def table_of(**tensors):
    geometry = Geometry("element", segments=16, length=1024, count=64, rows=16, inputs=1024)
    weight, index = torch.zeros(16, 1024), torch.zeros(16, 64, dtype=torch.int16)
    given = {name: torch.zeros(geometry.shape) for name in ("anchor", "exp_avg", "exp_avg_sq", "gradient")}
    given |= {"weight": weight, "step": torch.zeros(()), **tensors}
    return Table([Entry(geometry, 7, index=index, **given)], "cpu")


PLAIN = {"values": torch.zeros(16, 64)}
HALVES = {"weight": torch.zeros(16, 1024).bfloat16(), "lo": torch.zeros(16, 1024, dtype=torch.int16)}
FLOATS, HALF = torch.zeros(768, 768), torch.zeros(768, 768).bfloat16()
COINS = {"key": 1, "episode": 2, "threshold": 3}
STORED = {"keep": torch.zeros(768, 768, dtype=torch.bool)}
COLUMNS = torch.zeros(64, dtype=torch.int32)
BLOCK = Geometry("block", segments=1, length=144, count=16, rows=768, inputs=768, size=64)
SHORT = Geometry("element", segments=18, length=2**15, count=4096, rows=768, inputs=768)


def block(size, dtype):
    return lambda: blocks.block_gradient(
        FLOATS.to(dtype), FLOATS.to(dtype), torch.zeros(4, dtype=torch.int32), size, 1.0, torch.float32
    )


# How each kernel comes to be launched: the module and name of the Triton function, and a call.
LAUNCHES = {
    "mix fp32 to bf16": (mixing, "_mix_kernel", lambda: mixing.mix(
        FLOATS, FLOATS, 2.0, **COINS, out_dtype=torch.bfloat16)),
    "mix fp32 to fp32": (mixing, "_mix_kernel", lambda: mixing.mix(
        FLOATS, FLOATS, 2.0, **COINS, out_dtype=torch.float32)),
    "mix fp32 to bf16, stored mask": (mixing, "_mix_kernel", lambda: mixing.mix(
        FLOATS, FLOATS, 2.0, **STORED, out_dtype=torch.bfloat16)),
    "mix fp32 to bf16, episode on the device": (mixing, "_mix_kernel", lambda: mixing.mix(
        FLOATS, FLOATS, 2.0, **{**COINS, "episode": torch.tensor([2])}, out_dtype=torch.bfloat16)),
    "mix_gradient bf16 to fp32": (mixing, "_mix_gradient_kernel", lambda: mixing.mix_gradient(
        HALF, 2.0, **COINS, out_dtype=torch.float32)),
    "mix_gradient fp32 to fp32": (mixing, "_mix_gradient_kernel", lambda: mixing.mix_gradient(
        FLOATS, 2.0, **COINS, out_dtype=torch.float32)),
    "mix_gradient bf16 to fp32, stored mask": (mixing, "_mix_gradient_kernel", lambda: mixing.mix_gradient(
        HALF, 2.0, **STORED, out_dtype=torch.float32)),
    "coins": (mixing, "_coins_kernel", lambda: mixing.coins(768 * 768, **COINS)),
    "cast_and_gather fp32 to bf16": (columns, "_columns_kernel", lambda: columns.cast_and_gather(
        FLOATS, COLUMNS, torch.bfloat16)),
    "gather_columns bf16": (columns, "_columns_kernel", lambda: columns.gather_columns(HALF, COLUMNS)),
    "block_gradient 64 fp16": (blocks, "_block_kernel", block(64, torch.float16)),
    "block_gradient 128 fp16": (blocks, "_block_kernel", block(128, torch.float16)),
    "block_gradient 64 fp32": (blocks, "_block_kernel", block(64, torch.float32)),
    "block_gradient 128 fp32": (blocks, "_block_kernel", block(128, torch.float32)),
    "draw": (support, "_draw_kernel", lambda: support.draw(table_of(**PLAIN), 3)),
    "write": (support, "_write_kernel", lambda: support.write(table_of(**PLAIN), 2.0, False, None)),
    "write residual, following": (support, "_write_kernel", lambda: support.write(table_of(**PLAIN), 2.0, True, 0.5)),
    "absorb": (support, "_absorb_kernel", lambda: support.absorb(table_of(**PLAIN), 0.5)),
    "absorb hilo": (support, "_absorb_kernel", lambda: support.absorb(table_of(**HALVES), 0.5)),
    "redraw": (support, "_redraw_kernel", lambda: support.redraw(table_of(**PLAIN), 3, False, True)),
    "redraw hilo": (support, "_redraw_kernel", lambda: support.redraw(table_of(**HALVES), 3, False, True)),
    "gather element bf16": (support, "_gather_kernel", lambda: support.gather(
        HALF, torch.zeros(SHORT.places, dtype=torch.int16), SHORT)),
    "gather block fp32": (support, "_gather_kernel", lambda: support.gather(
        FLOATS, torch.zeros(BLOCK.places, dtype=torch.int32), BLOCK)),
    "adamw": (adamw, "_adamw_kernel", lambda: adamw.adamw(
        table_of(**PLAIN), 0.1, 0.9, 0.99, 1e-8, 0.1, 2.0, False, None)),
    "adamw residual, following": (adamw, "_adamw_kernel", lambda: adamw.adamw(
        table_of(**PLAIN), 0.1, 0.9, 0.99, 1e-8, 0.1, 2.0, True, 0.5)),
    "adamw hilo": (adamw, "_adamw_kernel", lambda: adamw.adamw(
        table_of(**HALVES), 0.1, 0.9, 0.99, 1e-8, 0.1, 2.0, False, None)),
}  # fmt: skip
# Variants of the same launch: sizes that nothing divides or that need 64 bits, and a type that is not interpreted.
VARIANTS = {
    "mix fp32 to bf16, 2**31 entries",
    "mix fp32 to bf16, odd size",
    "cast_and_gather fp32 to bf16, odd sizes",
    "block_gradient 64 bf16",
    "block_gradient 128 bf16",
}


def test_every_kernel_has_a_launch():
    assert set(LAUNCHES) | VARIANTS == set(KERNELS)


@pytest.mark.parametrize("name", LAUNCHES)
def test_what_is_compiled_is_what_is_launched(name, monkeypatch):
    module, function, call = LAUNCHES[name]
    launch = Launch(getattr(module, function))
    monkeypatch.setattr(module, function, launch)
    call()
    assert KERNELS[name].function is launch.kernel
    assert list(launch.differences(KERNELS[name])) == []
    assert launch.options() == dict(KERNELS[name].options)
