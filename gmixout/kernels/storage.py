"""How kernels read and write numbers: any float type, or a float32 kept as two 16-bit halves.

Conversions to and from bfloat16 are spelled out in integers, because Triton's interpreter truncates where hardware
rounds to the nearest. Half and single precision are computed in float32, double precision in float64.
"""

import triton
import triton.language as tl


@triton.jit
def load_real(pointer, offset, live, dtype: tl.constexpr):
    """Numbers of type ``dtype`` at ``pointer + offset`` (a pointer or an int64 address), 0 where not ``live``."""
    if dtype == tl.bfloat16:
        half = tl.load(pointer.to(tl.pointer_type(tl.int16)) + offset, mask=live, other=0)
        value = (half.to(tl.int32) << 16).to(tl.float32, bitcast=True)
    elif dtype == tl.float64:
        value = tl.load(pointer.to(tl.pointer_type(tl.float64)) + offset, mask=live, other=0.0)
    else:
        value = tl.load(pointer.to(tl.pointer_type(dtype)) + offset, mask=live, other=0.0).to(tl.float32)
    return value


@triton.jit
def store_real(pointer, offset, value, live, dtype: tl.constexpr):
    """Writes numbers as type ``dtype``, rounded to the nearest, ties to even, where ``live``."""
    if dtype == tl.bfloat16:
        half = (_bfloat16_bits(value) >> 16).to(tl.int16)
        tl.store(pointer.to(tl.pointer_type(tl.int16)) + offset, half, mask=live)
    else:
        tl.store(pointer.to(tl.pointer_type(dtype)) + offset, value.to(dtype), mask=live)


@triton.jit
def rounded(value, dtype: tl.constexpr):
    """What would be read back of a number stored as ``dtype``."""
    if dtype == tl.bfloat16:
        value = _bfloat16_bits(value).to(tl.float32, bitcast=True)
    else:
        value = value.to(dtype).to(value.dtype)
    return value


@triton.jit
def widened(value, dtype: tl.constexpr):
    """Numbers in float64 if the result is stored so, else as they are."""
    return value.to(tl.float64) if dtype == tl.float64 else value


@triton.jit
def load_weight(weight, lo, position, live, dtype: tl.constexpr, IS_HILO: tl.constexpr):
    """Entries of a weight; of two halves as `gmixout.hilo.join` has it."""
    if IS_HILO:
        high = tl.load(weight.to(tl.pointer_type(tl.int16)) + position, mask=live, other=0).to(tl.int32)
        low = tl.load(lo.to(tl.pointer_type(tl.int16)) + position, mask=live, other=0).to(tl.int32)
        value = tl.add(high << 16, low, sanitize_overflow=False).to(tl.float32, bitcast=True)
    else:
        value = load_real(weight, position, live, dtype)
    return value


@triton.jit
def store_weight(weight, lo, position, value, live, dtype: tl.constexpr, IS_HILO: tl.constexpr):
    """Writes entries of a weight; as two halves as `gmixout.hilo.split` has it."""
    if IS_HILO:
        bits = _quiet_bits(value)
        high = (bits + 0x8000) >> 16
        tl.store(weight.to(tl.pointer_type(tl.int16)) + position, high.to(tl.int16), mask=live)
        tl.store(lo.to(tl.pointer_type(tl.int16)) + position, (bits - (high << 16)).to(tl.int16), mask=live)
    else:
        store_real(weight, position, value, live, dtype)


@triton.jit
def scalar(value, dtype: tl.constexpr):
    """A number as ``dtype`` without a detour through float32, which a plain conversion takes in the interpreter."""
    return tl.full((), value, dtype)


@triton.jit
def lerp(start, end, weight):
    """``start + weight * (end - start)`` as torch.lerp has it: exact at 0, at 1 and where both ends agree."""
    change = end - start
    return tl.where(weight < 0.5, start + weight * change, end - change * (1.0 - weight))


@triton.jit
def _quiet_bits(value):
    # Carrying into a NaN's sign bit would turn it into a zero.
    return tl.where(value == value, value.to(tl.int32, bitcast=True), 0x7FC00000)


@triton.jit
def _bfloat16_bits(value):
    bits = _quiet_bits(value.to(tl.float32))
    return (bits + 0x7FFF + ((bits >> 16) & 1)) & -65536
