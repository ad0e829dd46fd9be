"""The sampler in kernels draws the bits of the sampler in plain torch."""

import pytest
import torch

from gmixout.kernels.geometry import Geometry
from gmixout.kernels.support import draw
from gmixout.kernels.tables import Entry, Table
from gmixout.sampling import draw_exact
from tests.gmixout.kernels.weights import GEOMETRIES, KEYS, entries_of, index_of

SEGMENTS = [
    (1, 1, 1), (4, 2, 1), (5, 3, 2), (3, 3, 3), (40, 64, 7), (2, 65, 64), (300, 77, 8), (7, 1024, 102), (2, 1025, 20),
    (1, 77 * 513, 3950), (1, 2**15, 655), (1, 2**15 + 1, 655), (2, 40000, 40000), (1, 2**16, 1), (9000, 6, 1),
]  # fmt: skip


def element_entry(segments, length, count, key):
    geometry = Geometry("element", segments, length, count, rows=segments, inputs=length)
    index = torch.full((segments, count), -1, dtype=torch.int16 if length <= 2**15 else torch.int32)
    return Entry(geometry, key, torch.zeros(segments, length), index, torch.zeros(segments, count))


@pytest.mark.parametrize("episode", [0, 1, 2**31, 2**32 - 1])
def test_positions_are_those_of_the_law(episode):
    keys = [(0x9E3779B97F4A7C15 * (number + 1)) % 2**64 for number in range(len(SEGMENTS))]
    entries = [element_entry(*shape, key) for shape, key in zip(SEGMENTS, keys, strict=True)]
    draw(Table(entries, "cpu"), episode)
    for entry, shape in zip(entries, SEGMENTS, strict=True):
        expected = draw_exact(entry.key, episode, *shape)
        assert torch.equal(entry.index.int(), expected), f"{shape}, key {entry.key:#x}, episode {episode}"


@pytest.mark.parametrize("key", [0, 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
def test_all_64_bits_of_a_key_count(key):
    entry = element_entry(3, 100, 10, key)
    draw(Table([entry], "cpu"), episode=5)
    assert torch.equal(entry.index.int(), draw_exact(key, 5, 3, 100, 10))


def test_units_of_every_kind():
    entries = entries_of()
    for entry in entries:
        entry.index.fill_(-1)
    draw(Table(entries, "cpu"), episode=3)
    for entry, key, (name, geometry) in zip(entries, KEYS, GEOMETRIES.items(), strict=True):
        assert torch.equal(entry.index, index_of(geometry, key, 3)), name


def test_no_weights_are_nothing_to_draw():
    draw(Table([], "cpu"), episode=0)
