"""Lists, trees, cuts by seed and shot groups."""

import numpy as np
import pytest

from studies.benchmarks.cut import cut
from studies.benchmarks.listing import read_list, read_tree
from studies.benchmarks.roots import DataError
from studies.benchmarks.shots import shot_groups
from tests.studies.benchmarks.trees import write_picture


def test_list_keeps_order_spaces_and_line_numbers(tmp_path):
    (tmp_path / "list.txt").write_text("b/two words.jpg 1\n\na.png 0\n")
    found = read_list(tmp_path / "list.txt", tmp_path, 2)
    assert list(found.names) == ["b/two words.jpg", "a.png"]
    assert found.labels.tolist() == [1, 0]
    assert found.lines.tolist() == [1, 3]
    assert found.take(np.array([1])).where(0).endswith("list.txt line 3: a.png")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.jpg 0\nb.jpg\n", r"list.txt line 2 must be a file's name and its label, got 'b.jpg'"),
        ("a.jpg zero\n", "line 1 must be a file's name and its label"),
        ("a.jpg 0\nb.jpg 7\nc.jpg 9\n", r"labels must lie in 0..1, got 7 at .*line 2: b.jpg \(and 1 more\)"),
        ("a.jpg -1\n", "line 1 must be"),
        ("../a.jpg 0\n", "names must lie below"),
        ("/etc/a.jpg 0\n", "names must lie below"),
        ("\n", "is empty"),
    ],
)
def test_damaged_list_names_the_line(content, message, tmp_path):
    (tmp_path / "list.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        read_list(tmp_path / "list.txt", tmp_path, 2)


def test_absent_list_and_tree_are_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no list .*gone.txt"):
        read_list(tmp_path / "gone.txt", tmp_path, 2)
    with pytest.raises(DataError, match=r"there is no folder .*gone"):
        read_tree(tmp_path, "gone", {"a": 0})


def test_tree_is_sorted_deep_and_leaves_out_what_is_no_image(tmp_path):
    for name in ("b/2.jpg", "b/1.PNG", "a/deep/3.jpg", "other/4.jpg"):
        write_picture(tmp_path / "tree" / name, 0)
    for name in ("b/notes.txt", "b/.hidden.jpg"):
        (tmp_path / "tree" / name).write_text("")
    found = read_tree(tmp_path, "tree", {"a": 5, "b": 2, "absent": 0})
    assert list(found.names) == ["tree/a/deep/3.jpg", "tree/b/1.PNG", "tree/b/2.jpg"]
    assert found.labels.tolist() == [5, 2, 2]
    assert (found.sizes() > 0).all()
    assert list(read_tree(tmp_path / "tree", "", {"a": 0}).names) == ["a/deep/3.jpg"]


def test_sources_are_the_names(tmp_path):
    (tmp_path / "list.txt").write_text("a.jpg 0\nb.jpg 0\na.jpg 1\n")
    first, second, third = read_list(tmp_path / "list.txt", tmp_path, 2).sources().tolist()
    assert first == third != second


def test_cut_takes_equally_many_whatever_the_order():
    names = [f"{number}.jpg" for number in range(60)]
    labels = np.arange(60) % 3
    chosen = cut(names, labels, "purpose", 0, count=4)
    assert np.bincount(labels[chosen]).tolist() == [4, 4, 4]
    order = np.random.default_rng(0).permutation(60)
    again = cut([names[k] for k in order], labels[order], "purpose", 0, count=4)
    assert {names[k] for k in order[again]} == {names[k] for k in np.flatnonzero(chosen)}
    assert (cut(names, labels, "purpose", 1, count=4) != chosen).any()


def test_cut_by_fraction_rounds_takes_one_and_leaves_one():
    labels = np.repeat([0, 1, 2, 3], [26, 4, 2, 1])
    chosen = cut([f"{k:03d}" for k in range(33)], labels, "purpose", 0, fraction=0.1)
    assert np.bincount(labels[chosen], minlength=4).tolist() == [3, 1, 1, 0]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "give count or fraction"),
        ({"count": 1, "fraction": 0.1}, "give count or fraction"),
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"fraction": 1.0}, r"fraction must lie in \(0, 1\), got 1.0"),
        ({"count": 2}, "class 1 has 2 training files, 2 are to be cut off for purpose"),
    ],
)
def test_impossible_cut_is_refused(how, message):
    with pytest.raises(ValueError, match=message):
        cut(list("abcde"), np.array([0, 0, 0, 1, 1]), "purpose", 0, **how)


@pytest.mark.parametrize(
    ("convention", "expected"),
    [
        ("kang", {"many": (0,), "medium": (1, 2, 3), "few": (4,)}),
        ("oltr", {"many": (0, 1), "medium": (2,), "few": (3, 4)}),
    ],
)
def test_shots_at_their_borders(convention, expected):
    assert shot_groups(np.array([101, 100, 21, 20, 19]), convention) == expected


def test_unknown_convention_is_refused():
    with pytest.raises(ValueError, match="unknown convention 'liu'; choose one of kang, oltr"):
        shot_groups(np.array([1]), "liu")
