"""How large a benchmark is, for forecasts: of the data that is here, or of what its publisher says while it is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from studies.benchmarks import FACTS, Benchmark, DataError
from studies.benchmarks.benchmark import CORRUPTION
from studies.benchmarks.corruptions import CORRUPTIONS, SEVERITIES
from studies.benchmarks.facts import TOGETHER, Facts
from studies.costs import split_sizes

PLACEHOLDER = "0" * 64
"""Stands for the manifest of data that is not here: cells can be counted with it, and never run."""

ID_VALIDATION = 0.1
"""Part of images that are known together with training's, taken for ID validation: DomainNet's."""


@dataclass(frozen=True)
class Sizes:
    """What a forecast needs of a benchmark.

    Attributes:
        benchmark: Its name.
        manifest: Its manifest, or ``PLACEHOLDER``.
        images: Number of images by split; 0 where nobody says.
        columns: Number of logits an image by split.
        classes: Names of the classes.
        unknown: Splits whose size nobody says.
        side: Pixels of the images' sides; None if they are files of any size.
    """

    benchmark: str
    manifest: str
    images: Mapping[str, int]
    columns: Mapping[str, int]
    classes: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    side: int | None = None

    @property
    def is_here(self) -> bool:
        """Whether these are sizes of data on this machine."""
        return self.manifest != PLACEHOLDER

    @property
    def held_bytes(self) -> int:
        """Bytes that the images take while they are worked on: of files nothing."""
        whole = sum(size for name, size in self.images.items() if not name.startswith(CORRUPTION))
        return 0 if self.side is None else whole * 3 * self.side**2


def sizes_of(benchmark: Benchmark) -> Sizes:
    """The sizes of data that is here.

    Raises:
        DataError: If a split cannot be listed, or a file is missing.
    """
    images = split_sizes(benchmark)
    readouts = {split: benchmark.readout(split) for split in images}
    columns = {
        split: len(benchmark.classes) if readout is None else len(readout.columns)
        for split, readout in readouts.items()
    }
    return Sizes(benchmark.name, benchmark.manifest, images, columns, benchmark.classes, (), benchmark.image_side)


def published_sizes(name: str) -> Sizes:
    """The sizes that a benchmark's publisher states.

    Args:
        name: A benchmark of the suite.

    Raises:
        DataError: If it is a user's own, of which nothing is known without its pictures.

    Example:
        >>> published_sizes("iwildcam").images["ood/test"]
        42791
    """
    if name not in FACTS:
        raise DataError(f"nothing is known of {name} without its pictures: the sizes of your own folders are not here")
    facts = FACTS[name]
    images: dict[str, int] = {}
    for joined, count in facts.images.items():
        parts = joined.split(TOGETHER)
        for part in parts[1:]:
            images[part] = round((count or 0) * ID_VALIDATION)
        images[parts[0]] = (count or 0) - sum(images[part] for part in parts[1:])
    if facts.corruptions:
        images |= {f"{CORRUPTION}{kind}/{level}": images["id_test"] for kind in CORRUPTIONS for level in SEVERITIES}
    return Sizes(
        name,
        PLACEHOLDER,
        images,
        {split: facts.subsets.get(split, facts.classes) for split in images},
        tuple(f"class {label}" for label in range(facts.classes)),
        _unknown(facts),
        32 if name.startswith("cifar") else None,
    )


def _unknown(facts: Facts) -> tuple[str, ...]:
    return tuple(part for joined, count in facts.images.items() if count is None for part in joined.split(TOGETHER))
