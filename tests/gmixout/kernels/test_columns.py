"""A cast and chosen columns in one pass are those of plain torch, bit for bit."""

import pytest
import torch
import triton
import triton.language as tl

from gmixout.kernels.columns import cast_and_gather, entries, gather_columns
from tests.gmixout.kernels.weights import DTYPES

# The interpreter casts with numpy, which warns of numbers too large for half precision.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
SHAPES = [((1, 1), 1), ((3, 5), 2), ((77, 513), 51), ((130, 16), 16), ((2, 3, 4, 700), 600), ((5, 9), 0), ((0, 9), 4)]


@pytest.fixture(autouse=True)
def _fresh_memory_is_nan():
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def inputs_of(shape, dtype):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # Some too large or too small for half precision, some not numbers, and ties only after a detour by float32.
    x.view(-1)[::7] *= 1e-6
    ties = [1 + 2.0**-11 + 2.0**-40, 1 + 2.0**-8 + 2.0**-40]
    for place, number in enumerate([torch.inf, -torch.inf, 1e30, -0.0, torch.nan, 65519.9, 2.0**-149, *ties]):
        x.view(-1)[place + 1 :: 31] = number
    return x.to(dtype)


def columns_of(inputs, count, dtype=torch.int32):
    return torch.randperm(inputs, generator=torch.Generator().manual_seed(1))[:count].to(dtype)


def assert_same(got, expected):
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    assert got.is_contiguous()
    assert torch.equal(got.isnan(), expected.isnan())
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[got.element_size()]
    numbers = ~expected.isnan()
    assert torch.equal(got.view(integer)[numbers], expected.contiguous().view(integer)[numbers])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("out_dtype", DTYPES, ids=str)
def test_every_cast(dtype, out_dtype):
    x, columns = inputs_of((77, 513), dtype), columns_of(513, 51)
    cast, compact = cast_and_gather(x, columns, out_dtype)
    assert_same(cast, x.to(out_dtype))
    assert_same(compact, x.index_select(-1, columns).to(out_dtype))


@pytest.mark.parametrize(("shape", "count"), SHAPES, ids=str)
def test_every_shape(shape, count):
    x, columns = inputs_of(shape, torch.float32), columns_of(shape[-1], count)
    cast, compact = cast_and_gather(x, columns, torch.bfloat16)
    assert_same(cast, x.bfloat16())
    assert_same(compact, x.index_select(-1, columns).bfloat16())
    assert_same(gather_columns(x, columns), x.index_select(-1, columns))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_columns_without_a_cast_keep_every_bit(dtype):
    # NaNs with a payload, too.
    x = torch.randint(0, 256, (77, 513 * dtype.itemsize), dtype=torch.uint8).view(dtype)
    columns = columns_of(513, 51)
    got, expected = gather_columns(x, columns), x.index_select(-1, columns)
    assert torch.equal(got.view(torch.uint8), expected.view(torch.uint8))


@pytest.mark.parametrize("index_dtype", [torch.int16, torch.int32, torch.int64], ids=str)
def test_every_type_of_index(index_dtype):
    # The last column counts in 16 bits, but not the number of entries before it.
    x, columns = inputs_of((3, 2**15), torch.float32), columns_of(2**15, 100, index_dtype)
    columns[0] = 2**15 - 1
    expected = x[:, columns.long()]
    assert_same(gather_columns(x, columns), expected)
    assert_same(cast_and_gather(x, columns, torch.float16)[1], expected.half())


def test_strided_tensors():
    x, columns = inputs_of((60, 40), torch.float32).T[::2], columns_of(60, 20)[::2]
    cast, compact = cast_and_gather(x, columns, torch.bfloat16)
    assert_same(cast, x.bfloat16())
    assert_same(compact, x[:, columns.long()].bfloat16())
    assert_same(gather_columns(x, columns), x[:, columns.long()])


@triton.jit
def _entries_kernel(OUT, row, width, column, LANES: tl.constexpr):
    lane = tl.arange(0, LANES)
    tl.store(OUT + lane, entries(row + lane, width, column + lane))


@pytest.mark.parametrize(("row", "width", "column"), [(2**20, 2**14, 77), (2**31 - 9, 2**31 - 1, 2**31 - 9), (3, 5, 1)])
def test_positions_beyond_32_bits(row, width, column):
    out = torch.full((8,), -1)
    _entries_kernel[(1,)](out, row, width, column, LANES=8)
    assert out.tolist() == [(row + lane) * width + column + lane for lane in range(8)]
