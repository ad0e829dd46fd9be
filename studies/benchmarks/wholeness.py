"""Whether a benchmark of files is whole: every problem one sentence that says what is missing and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from studies.benchmarks.facts import TOGETHER, Facts
from studies.benchmarks.listing import Listing
from studies.benchmarks.roots import DataError

NAMED = 3
"""Problems of one kind that are named one by one; the rest is counted."""

HALF_EXTRACTED = 0.5
"""Below this part of the median class a class looks half extracted, if the split is short of files."""


class Listed(Protocol):
    """What is looked at: see ``FileBenchmark``."""

    @property
    def name(self) -> str: ...

    @property
    def facts(self) -> Facts: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def splits(self) -> tuple[str, ...]: ...

    def listing(self, split: str) -> Listing: ...


def problems(benchmark: Listed) -> list[str]:
    """Everything that is wrong with names, sizes, labels and counts.

    Args:
        benchmark: Not yet known to be whole: its classes or lists may fail to be read.
    """
    try:
        classes = benchmark.classes
    except DataError as error:
        return [str(error)]
    found = []
    if len(classes) != benchmark.facts.classes:
        found.append(f"{benchmark.facts.classes} classes are expected, there are {len(classes)}")
    listings: dict[str, Listing] = {}
    for split in (*benchmark.splits, *benchmark.facts.unused):
        try:
            listings[split] = benchmark.listing(split)
        except DataError as error:
            if str(error) not in found:
                found.append(str(error))
    found += _missing(listings)
    found += _counts(listings, benchmark.facts)
    found += _overlaps({split: files for split, files in listings.items() if split in benchmark.splits})
    for split in ("train", "id_val"):
        if split in listings and not benchmark.facts.may_lack_classes:
            found += _empty_classes(split, listings[split], classes)
    return found


def _missing(listings: Mapping[str, Listing]) -> Iterator[str]:
    for split, files in listings.items():
        sizes = files.sizes()
        for kind, wrong in (("missing", np.flatnonzero(sizes < 0)), ("empty", np.flatnonzero(sizes == 0))):
            for position in wrong[:NAMED].tolist():
                verb = "names a missing file" if kind == "missing" else "names an empty file"
                if files.lines is None:
                    yield f"{split}: {files.where(position)} is {'missing' if kind == 'missing' else 'an empty file'}"
                else:
                    yield (
                        f"{split}: {files.source} line {files.lines[position]} {verb}, "
                        f"{files.folder / files.names[position]}"
                    )
            if len(wrong) > NAMED:
                yield f"{split}: {len(wrong)} of {len(files)} files are {kind}"


def _counts(listings: Mapping[str, Listing], facts: Facts) -> Iterator[str]:
    for joined, expected in facts.images.items():
        names = joined.split(TOGETHER)
        if expected is None or not all(name in listings for name in names):
            continue
        held = sum(len(listings[name]) for name in names)
        if held == expected:
            continue
        first = listings[names[0]]
        yield f"{joined} has {held} of {expected} files in {_common(first)}"
        if held < expected and first.lines is None:
            yield from _half_extracted(joined, [listings[name] for name in names])


def _half_extracted(split: str, listings: list[Listing]) -> Iterator[str]:
    names = [name.rpartition("/")[0] for files in listings for name in files.names]
    if not names:
        return
    folders, counts = np.unique(names, return_counts=True)
    usual = float(np.median(counts))
    short = np.flatnonzero(counts < HALF_EXTRACTED * usual)
    for position in short[:NAMED].tolist():
        yield f"{split} looks half extracted: {folders[position]} has {counts[position]} of some {usual:.0f} files"
    if len(short) > NAMED:
        yield f"{split} looks half extracted: {len(short)} folders have less than half of the usual number of files"


def _overlaps(listings: Mapping[str, Listing]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for split, files in listings.items():
        counts: dict[str, list[str]] = {}
        for name in files.names:
            path = f"{files.folder}/{name}"
            if path in seen:
                counts.setdefault(seen[path], []).append(name)
            seen.setdefault(path, split)
        for other, names in counts.items():
            if other == split:
                yield f"{split} holds {len(names)} files twice, the first is {names[0]}"
            else:
                yield f"{len(names)} files lie in {other} and in {split}, the first is {names[0]}"


def _empty_classes(split: str, files: Listing, classes: tuple[str, ...]) -> Iterator[str]:
    counts = np.bincount(files.labels, minlength=len(classes))
    empty = np.flatnonzero(counts == 0)
    for label in empty[:NAMED].tolist():
        yield f"{split} has no image of class {label} ({classes[label]})"
    if len(empty) > NAMED:
        yield f"{split} has no image of {len(empty)} of {len(classes)} classes"


def _common(files: Listing) -> str:
    if files.source or not files.names:
        return files.source or str(files.folder)
    first, last = (name.split("/")[0] for name in (files.names[0], files.names[-1]))
    return str(files.folder / first if first == last else files.folder)
