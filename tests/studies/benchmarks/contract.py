"""What every benchmark promises, as one test class to inherit."""

import re

import numpy as np
import pytest

from studies.benchmarks import BENCHMARKS, FACTS, DataError, load
from studies.benchmarks.benchmark import Benchmark
from studies.benchmarks.facts import TOGETHER


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

    def test_facts_count_its_images(self, benchmark, drawn):
        assert FACTS[self.name].images == {name: len(split) for name, split in drawn.items()}
        assert FACTS[self.name].classes == len(benchmark.classes)
        assert FACTS[self.name].metric == benchmark.metric == "accuracy"

    def test_images_are_of_one_side_and_need_no_readout(self, benchmark, drawn):
        for name, split in drawn.items():
            assert split.images.shape[1:] == (benchmark.image_side, benchmark.image_side, 3)
            assert benchmark.readout(name) is None

    def test_manifest_is_a_hash(self, benchmark):
        assert re.fullmatch("[0-9a-f]{64}", benchmark.manifest)

    def test_unknown_split_is_refused_with_the_valid_names(self, benchmark):
        with pytest.raises(ValueError, match=r"unknown split 'ood/photo'.*id_val.*corruption/<kind>"):
            benchmark.load("ood/photo")

    def test_check_finds_nothing(self, benchmark):
        assert benchmark.check() == []


class DataContract:
    """What every benchmark of a publisher's data promises, on its miniature. Inherit and set ``names``."""

    names: tuple[str, ...]

    def pytest_generate_tests(self, metafunc):
        metafunc.parametrize("name", self.names)

    @pytest.fixture
    def benchmark(self, name, minis) -> Benchmark:
        return minis.benchmark(name)

    @pytest.fixture
    def loaded(self, benchmark):
        return {split: benchmark.load(split) for split in ("train", "id_val", "id_test", *benchmark.ood_splits)}

    def test_is_found_by_its_name(self, name, benchmark):
        assert benchmark.name == name
        assert isinstance(benchmark, Benchmark)

    def test_facts_name_its_splits(self, name, benchmark):
        counted = [split for joined in FACTS[name].images for split in joined.split(TOGETHER)]
        assert counted == ["train", "id_val", "id_test", *benchmark.ood_splits]
        assert FACTS[name].metric == benchmark.metric
        assert bool(FACTS[name].corruptions) == bool(benchmark.corruption_splits)

    def test_splits_have_the_promised_shape(self, benchmark, loaded):
        for split_name, split in loaded.items():
            assert split.name == split_name
            side = benchmark.image_side or 224
            for chosen in (slice(0, 2), np.array([1, 0, 1])):
                pixels = split.images[chosen]
                assert pixels.dtype == np.uint8
                assert pixels.shape == (len(range(2)[chosen]) if isinstance(chosen, slice) else 3, side, side, 3)
            assert split.images.shape == (len(split), side, side, 3)
            assert split.labels.dtype == np.int64
            assert split.sources.dtype == np.int64

    def test_labels_are_positions_among_the_classes_asked_for(self, benchmark, loaded):
        for split in loaded.values():
            readout = benchmark.readout(split.name)
            classes = len(readout.columns if readout else benchmark.classes)
            assert set(np.unique(split.labels)) == set(range(classes))
            if readout:
                assert readout.apply(np.zeros((2, len(benchmark.classes)))).shape == (2, classes)

    def test_no_source_lies_in_two_splits(self, loaded):
        seen = [source for split in loaded.values() for source in split.sources.tolist()]
        assert len(seen) == len(set(seen))

    def test_train_counts_are_those_of_the_training_labels(self, benchmark, loaded):
        assert (np.bincount(loaded["train"].labels) == benchmark.train_counts).all()

    def test_groups_part_the_classes(self, benchmark):
        if benchmark.groups:
            assert list(benchmark.groups) == ["many", "medium", "few"]
            assert sorted(sum(benchmark.groups.values(), ())) == list(range(len(benchmark.classes)))

    def test_loading_twice_gives_the_same_split(self, benchmark):
        assert benchmark.load("id_val") is benchmark.load("id_val")

    def test_manifest_is_a_hash_that_knows_no_place(self, name, benchmark, minis, tmp_path):
        assert re.fullmatch("[0-9a-f]{64}", benchmark.manifest)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.symlink_to(minis.data)
        assert minis.benchmark(name, elsewhere).manifest == benchmark.manifest

    def test_unknown_split_is_refused_with_the_valid_names(self, benchmark):
        with pytest.raises(ValueError, match=r"unknown split 'ood/photo'.*train, id_val, id_test"):
            benchmark.load("ood/photo")

    def test_absent_data_is_told_in_one_line(self, name, tmp_path):
        for data, reason in ((None, "no data folder is named"), (tmp_path, "there is no folder"),
                             (tmp_path / "x", "does not exist")):  # fmt: skip
            with pytest.raises(DataError) as told:
                load(name, data)
            for words in (reason, FACTS[name].folder, FACTS[name].home, "GB", f"gmixout data check {name}"):
                assert words in str(told.value)
            assert "\n" not in str(told.value)

    def test_check_finds_nothing(self, benchmark):
        assert benchmark.check() == []
