"""The gradient of chosen tiles is that part of the dense gradient."""

import pytest
import torch

from gmixout.kernels import blocks
from gmixout.kernels.blocks import block_gradient
from tests.gmixout.kernels.weights import assert_as_close

OUTPUTS, INPUTS = 256, 384


@pytest.fixture(autouse=True)
def _fresh_memory_is_nan():
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def normal(shape, dtype, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def tiles_of(size, count, dtype=torch.int32):
    numbers = torch.randperm(OUTPUTS // size * (INPUTS // size), generator=torch.Generator().manual_seed(2))
    return numbers[:count].to(dtype)


def cut(dense, tiles, size):
    across = dense.shape[1] // size
    return torch.stack([
        dense[tile // across * size :, tile % across * size :][:size, :size] for tile in tiles.tolist()
    ])  # fmt: skip


def law(dy, x, tiles, size, scale):
    """In the type of the inputs."""
    return cut(scale * (dy.flatten(0, -2).T @ x.flatten(0, -2)), tiles, size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize(("size", "count", "tokens"), [
    (64, 3, (1,)), (64, 1, (3,)), (64, 5, (77,)), (64, 2, (3, 400)), (128, 1, (7, 11)), (128, 2, (1200,)),
    (128, 6, (65,)),
])  # fmt: skip
def test_tiles_of_the_dense_gradient(dtype, size, count, tokens):
    dy, x = normal((*tokens, OUTPUTS), dtype, 0), normal((*tokens, INPUTS), dtype, 1)
    tiles = tiles_of(size, count)
    got = block_gradient(dy, x, tiles, size, 2.5, dtype)
    assert (got.shape, got.dtype, got.is_contiguous()) == ((count, size, size), dtype, True)
    exact = law(dy.double(), x.double(), tiles, size, 2.5)
    assert_as_close("tiles", got, law(dy, x, tiles, size, 2.5), exact)


def test_tokens_are_split_over_programs_where_tiles_are_few(monkeypatch):
    launched = []

    class Recorder:
        def __getitem__(self, grid):
            launched.append(grid)
            return kernel[grid]

    kernel = blocks._block_kernel
    monkeypatch.setattr(blocks, "_block_kernel", Recorder())
    dy, x = normal((1101, OUTPUTS), torch.float32, 0), normal((1101, INPUTS), torch.float32, 1)
    few, many = tiles_of(128, 1), tiles_of(128, 3)
    split = block_gradient(dy, x, few, 128, 1.0, torch.float32)
    monkeypatch.setattr(blocks, "_PROGRAMS", 3)
    whole = block_gradient(dy, x, many, 128, 1.0, torch.float32)
    assert launched == [(1, 2), (3, 1)]
    exact = law(dy.double(), x.double(), many, 128, 1.0)
    for name, got in [("split", split[0]), ("whole", whole[0])]:
        assert_as_close(name, got, law(dy, x, few, 128, 1.0)[0], exact[0])


@pytest.mark.parametrize(("dtype", "out_dtype"), [
    (torch.float32, torch.bfloat16), (torch.float32, torch.float64), (torch.float16, torch.float32),
])  # fmt: skip
@pytest.mark.parametrize("tokens", [40, 1100])
def test_results_of_another_type(dtype, out_dtype, tokens):
    dy, x, tiles = normal((tokens, OUTPUTS), dtype, 0), normal((tokens, INPUTS), dtype, 1), tiles_of(128, 2)
    got = block_gradient(dy, x, tiles, 128, 0.5, out_dtype)
    assert got.dtype == out_dtype
    plain = law(dy.float(), x.float(), tiles, 128, 0.5).to(out_dtype)
    assert_as_close("tiles", got, plain, law(dy.double(), x.double(), tiles, 128, 0.5))


@pytest.mark.parametrize("index_dtype", [torch.int16, torch.int32, torch.int64], ids=str)
def test_every_type_of_tile_numbers_and_strides(index_dtype):
    dy, x = normal((OUTPUTS, 20), torch.float32, 0).T, normal((40, INPUTS), torch.float32, 1)[::2]
    tiles = tiles_of(64, 4, index_dtype)[::2]
    got = block_gradient(dy, x, tiles, 64, 1.0, torch.float32)
    assert_as_close("tiles", got, law(dy, x, tiles, 64, 1.0), law(dy.double(), x.double(), tiles, 64, 1.0))


def test_without_tokens_or_tiles_there_is_nothing_to_add():
    tiles = tiles_of(64, 2)
    got = block_gradient(torch.zeros(0, OUTPUTS), torch.zeros(0, INPUTS), tiles, 64, 1.0, torch.float32)
    assert torch.equal(got, torch.zeros(2, 64, 64))
    got = block_gradient(torch.zeros(5, OUTPUTS), torch.zeros(5, INPUTS), tiles[:0], 64, 1.0, torch.float32)
    assert got.shape == (0, 64, 64)


def test_what_cannot_be_multiplied_is_refused():
    dy, x, tiles = torch.zeros(2, OUTPUTS), torch.zeros(2, INPUTS), tiles_of(64, 1)
    with pytest.raises(ValueError, match=r"size must be one of \(64, 128\) and divide 256 and 384, got 32"):
        block_gradient(dy, x, tiles, 32, 1.0, torch.float32)
    with pytest.raises(ValueError, match="divide 256 and 100"):
        block_gradient(dy, x[:, :100], tiles, 64, 1.0, torch.float32)
    with pytest.raises(TypeError, match=r"float32 and torch\.float16"):
        block_gradient(dy, x.half(), tiles, 64, 1.0, torch.float32)
    with pytest.raises(TypeError, match="float64"):
        block_gradient(dy.double(), x.double(), tiles, 64, 1.0, torch.float32)
    with pytest.raises(ValueError, match="2 tokens and 3"):
        block_gradient(dy, torch.zeros(3, INPUTS), tiles, 64, 1.0, torch.float32)


def test_the_interpreter_is_not_trusted_with_bfloat16():
    dy, x = torch.zeros(2, OUTPUTS, dtype=torch.bfloat16), torch.zeros(2, INPUTS, dtype=torch.bfloat16)
    with pytest.raises(RuntimeError, match="multiplies bfloat16 wrongly"):
        block_gradient(dy, x, tiles_of(64, 1), 64, 1.0, torch.float32)
