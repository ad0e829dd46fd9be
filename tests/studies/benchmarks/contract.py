"""What every benchmark promises, as one test class to inherit."""

import re

import numpy as np
import pytest

from studies.benchmarks import BENCHMARKS, load
from studies.benchmarks.benchmark import Benchmark


class BenchmarkContract:
    """Inherit and set ``name``."""

    name: str

    @pytest.fixture
    def benchmark(self) -> Benchmark:
        return load(self.name)

    @pytest.fixture
    def drawn(self, benchmark):
        return {name: benchmark.load(name) for name in ("train", "id_val", "id_test", *benchmark.ood_splits)}

    def test_is_found_by_its_name(self, benchmark):
        assert benchmark.name == self.name
        assert self.name in BENCHMARKS
        assert isinstance(benchmark, Benchmark)

    def test_splits_have_the_promised_shape(self, benchmark, drawn):
        for name in (*drawn, *benchmark.corruption_splits):
            split = benchmark.load(name)
            assert split.name == name
            assert split.images.dtype == np.uint8
            assert split.images.shape[3] == 3
            assert split.labels.dtype == np.int64
            assert split.sources.dtype == np.int64
            assert set(np.unique(split.labels)) == set(range(len(benchmark.classes)))
            assert not split.images.flags.writeable

    def test_no_image_is_blank(self, drawn):
        for split in drawn.values():
            assert (split.images.std(axis=(1, 2, 3)) > 1).all()

    def test_no_source_lies_in_two_splits(self, drawn):
        seen = [set(split.sources.tolist()) for split in drawn.values()]
        assert sum(map(len, seen)) == len(set().union(*seen))

    def test_no_image_lies_in_two_splits(self, drawn):
        images = [split.images.reshape(len(split), -1) for split in drawn.values()]
        stacked = np.concatenate(images)
        assert len(np.unique(stacked, axis=0)) == len(stacked)

    def test_corruptions_are_the_standard_ones_of_id_test_images(self, benchmark, drawn):
        assert len(benchmark.corruption_splits) == 75
        sources = {benchmark.load(name).sources.tobytes() for name in benchmark.corruption_splits}
        assert len(sources) == 1
        assert set(benchmark.load(benchmark.corruption_splits[0]).sources) <= set(drawn["id_test"].sources)

    def test_train_counts_are_those_of_the_training_labels(self, benchmark, drawn):
        assert (np.bincount(drawn["train"].labels) == benchmark.train_counts).all()

    def test_groups_part_the_classes(self, benchmark):
        if benchmark.groups:
            assert list(benchmark.groups) == ["many", "medium", "few"]
            assert sorted(sum(benchmark.groups.values(), ())) == list(range(len(benchmark.classes)))

    def test_loading_twice_gives_the_same_arrays(self, benchmark):
        assert benchmark.load("id_val").images is benchmark.load("id_val").images

    def test_manifest_is_a_hash(self, benchmark):
        assert re.fullmatch("[0-9a-f]{64}", benchmark.manifest)

    def test_unknown_split_is_refused_with_the_valid_names(self, benchmark):
        with pytest.raises(ValueError, match=r"unknown split 'ood/photo'.*id_val.*corruption/<kind>"):
            benchmark.load("ood/photo")

    def test_check_finds_nothing(self, benchmark):
        assert benchmark.check() == []
