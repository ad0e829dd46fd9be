"""DomainNet: sources and targets, SENTRY's lists, WILDS' release by the package that defines it, duplicates."""

import shutil

import pytest

from studies.benchmarks import DataError
from tests.studies.benchmarks.official import DomainNetDataset
from tests.studies.benchmarks.trees import DOMAINS, write_domainnet


@pytest.fixture
def broken(tmp_path):
    """A copy that a test may damage."""
    return write_domainnet(tmp_path)


def listed(minis, *parts: str) -> list[str]:
    return minis.data.joinpath("domainnet", *parts).read_text().splitlines()


@pytest.mark.parametrize(
    ("name", "source", "ending"),
    [
        ("domainnet", "sketch", ".txt"),
        ("domainnet-quickdraw", "quickdraw", ".txt"),
        ("domainnet-sentry", "sketch", "_mini.txt"),
        ("domainnet-sentry-real", "real", "_mini.txt"),
    ],
)
def test_splits_are_the_publishers_lists(name, source, ending, minis):
    benchmark = minis.benchmark(name)
    folder = ("SENTRY_splits",) if "sentry" in name else ()

    def entries(split: str) -> list[str]:
        files = benchmark.listing(split)
        return [f"{file} {label}" for file, label in zip(files.names, files.labels.tolist())]

    assert sorted(entries("train") + entries("id_val")) == sorted(listed(minis, *folder, f"{source}_train{ending}"))
    assert entries("id_test") == listed(minis, *folder, f"{source}_test{ending}")
    for split in benchmark.ood_splits:
        assert entries(split) == listed(minis, *folder, f"{split.removeprefix('ood/')}_test{ending}")
        assert split != f"ood/{source}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("is_sentry", [False, True])
def test_release_is_what_wilds_reads(is_sentry, minis):
    official = DomainNetDataset(root_dir=str(minis.data), download=False, use_sentry=is_sentry)
    benchmark = minis.benchmark("domainnet-wilds-sentry" if is_sentry else "domainnet-wilds")
    for ours, theirs in (("id_test", "id_test"), ("ood/real", "test"), ("ood_val", "val")):
        subset = official.get_subset(theirs)
        files = benchmark.listing(ours)
        assert files.labels.tolist() == subset.y_array.tolist()
        assert list(files.names) == list(official._input_image_paths[subset.indices])
    subset = official.get_subset("train")
    training = [*benchmark.listing("train").names, *benchmark.listing("id_val").names]
    assert sorted(training) == sorted(official._input_image_paths[subset.indices])


def test_release_and_lists_cut_the_same_share(minis):
    ours, released = minis.benchmark("domainnet"), minis.benchmark("domainnet-wilds")
    assert len(ours.load("id_val")) == len(released.load("id_val"))


def test_all_other_domains_can_be_targets(minis):
    assert minis.benchmark("domainnet-six").ood_splits == tuple(f"ood/{d}" for d in DOMAINS if d != "sketch")
    assert minis.benchmark("domainnet").ood_splits == ("ood/clipart", "ood/painting", "ood/real")


def test_duplicates_are_left_out_of_every_split(minis):
    plain, clean = minis.benchmark("domainnet"), minis.benchmark("domainnet-deduplicated")
    duplicate = listed(minis, "domain_net_duplicates.txt")[0]
    assert duplicate in plain.listing("ood/real").names
    assert duplicate not in clean.listing("ood/real").names


def test_missing_list_of_duplicates_is_told(broken, minis):
    (broken / "domain_net_duplicates.txt").unlink()
    with pytest.raises(DataError, match=r"there is no list .*domain_net_duplicates.txt .*get it from DomainBed"):
        minis.benchmark("domainnet-deduplicated", broken.parent).load("train")


@pytest.mark.parametrize(("name", "source"), [("domainnet", "photo"), ("domainnet-sentry", "quickdraw")])
def test_unknown_source_is_refused(name, source, minis):
    with pytest.raises(ValueError, match=f"unknown domain '{source}'.*choose one of clipart"):
        minis.benchmark(name, source=source)


def test_list_that_names_a_missing_file_is_told_with_its_line(broken, minis):
    table = broken / "sketch_test.txt"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, "sketch/airplane/gone.jpg 0"]))
    problems = minis.benchmark("domainnet", broken.parent).check()
    assert f"{table} line 7 names a missing file, {broken}/sketch/airplane/gone.jpg" in problems[0]
    assert problems[1] == f"id_test has 7 of 6 files in {table}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("t-shirt/", "tshirt/", "has the label 2, elsewhere that of 't-shirt'"),
        (" 2", " 345", r"labels must lie in 0..2, got 345 at .*real_test.txt line 5"),
    ],
)
def test_lists_must_agree(old, new, message, broken, minis):
    table = broken / "real_test.txt"
    table.write_text(table.read_text().replace(old, new))
    benchmark = minis.benchmark("domainnet", broken.parent)
    with pytest.raises(DataError, match=message):
        _ = benchmark.classes
    assert len(benchmark.check()) == 1


def test_class_without_any_file_is_told(broken, minis):
    for table in broken.glob("*_t*.txt"):
        table.write_text("\n".join(line for line in table.read_text().splitlines() if not line.endswith(" 1")))
    with pytest.raises(DataError, match="name no file of 1 of 3 classes, the first is 1"):
        _ = minis.benchmark("domainnet", broken.parent).classes


def test_missing_domain_is_told(broken, minis):
    shutil.rmtree(broken / "real")
    problems = minis.benchmark("domainnet", broken.parent).check()
    assert problems[-1] == "ood/real: 6 of 6 files are missing"
