"""The embedded benchmark: fine-tune on `sketch`, test on `sketch`, five other domains and fifteen corruptions."""

from __future__ import annotations

import functools
import hashlib

import numpy as np

from studies.benchmarks.benchmark import CORRUPTION, OOD, Split
from studies.benchmarks.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from studies.benchmarks.digits import checks, longtail
from studies.benchmarks.digits.hashes import HASHES
from studies.benchmarks.digits.kept import keep, kept
from studies.benchmarks.digits.rendering import RECIPE_VERSION, render
from studies.benchmarks.digits.splits import OOD_DOMAINS, PER_CLASS, RENDERINGS
from studies.benchmarks.draws import Draws
from studies.benchmarks.readout import Readout

CORRUPTED_PER_CLASS = 10


class Digits:
    """Real handwritten digits in six drawn domains.

    Splits: ``train`` (28 scans a class, three pictures of each), ``id_val`` (8 x 3) and ``id_test`` (24 x 2) in the
    domain `sketch`; ``ood/real``, ``ood/painting``, ``ood/clipart``, ``ood/infograph``, ``ood/quickdraw`` (10 x 3
    each); ``corruption/<kind>/<severity>``: ten fixed images a class of ``id_test``, corrupted. No scan lies in two of
    the first eight. All bytes are a function of the recipe's version. Rendering all takes about 5 s on
    one core; they are then kept in the cache folder for other processes.

    Args:
        longtail: Whether to thin the training split to a long tail (84 to 6 images a class); the rest is equal.

    Example:
        >>> Digits().load("id_val").images.shape
        (240, 32, 32, 3)
        >>> Digits(longtail=True).groups["few"]
        (3, 5, 9)
    """

    classes = tuple("0123456789")
    ood_splits = tuple(f"{OOD}{domain}" for domain in OOD_DOMAINS)
    corruption_splits = tuple(f"{CORRUPTION}{kind}/{severity}" for kind in CORRUPTIONS for severity in SEVERITIES)
    metric = "accuracy"
    image_side: int | None = 32

    def __init__(self, longtail: bool = False) -> None:
        self.is_longtail = longtail

    @property
    def name(self) -> str:
        return "digits-longtail" if self.is_longtail else "digits"

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of all splits, drawn ones first."""
        return ("train", "id_val", "id_test", *self.ood_splits, *self.corruption_splits)

    def readout(self, split: str) -> Readout | None:
        """None: every split asks for all ten classes."""
        return None

    def load(self, split: str) -> Split:
        """Returns a split; out of the cache folder, or rendered once per process.

        Raises:
            ValueError: If there is no such split; the message lists the valid names.
        """
        if split not in self.splits:
            plain = ", ".join(self.splits[: -len(self.corruption_splits)])
            raise ValueError(
                f"unknown split {split!r} of {self.name}; choose one of {plain}, "
                f"corruption/<kind>/<1..5> with kind in {', '.join(CORRUPTIONS)}"
            )
        if split == "train" and self.is_longtail:
            return _thinned()
        return _corrupted(split) if split.startswith(CORRUPTION) else _drawn(split)

    @functools.cached_property
    def train_counts(self) -> np.ndarray:
        """Training images per class, ``int64``, shape ``(10,)``."""
        scans = longtail.scans_per_class() if self.is_longtail else np.full(10, PER_CLASS["train"])
        return scans.astype(np.int64) * RENDERINGS["train"]

    @property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """``many``, ``medium``, ``few`` -> class ids; empty for the balanced variant."""
        return longtail.groups(self.train_counts) if self.is_longtail else {}

    @functools.cached_property
    def manifest(self) -> str:
        """SHA-256 (hex) over the recipe's version and every split, as its bytes are here and now."""
        parts = [f"{self.name} recipe {RECIPE_VERSION}", *(f"{k} {v}" for k, v in self.fingerprints().items())]
        if not _kept():
            # Of the balanced variant, whatever this one is: the other is thinned from it.
            keep([*(_drawn(name) for name in RENDERINGS), *(_corrupted(name) for name in self.corruption_splits)])
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def fingerprints(self) -> dict[str, str]:
        """SHA-256 (hex) of every drawn split and of the five severities of every corruption, here and now."""
        drawn = {name: checks.fingerprint(self.load(name)) for name in self.splits[: -len(self.corruption_splits)]}
        corrupted = {
            f"{CORRUPTION}{kind}": checks.fingerprint(
                *(self.load(f"{CORRUPTION}{kind}/{severity}") for severity in SEVERITIES)
            )
            for kind in CORRUPTIONS
        }
        return {**drawn, **corrupted}

    def check(self) -> list[str]:
        """Returns what is wrong with the data, each problem one sentence; empty if all is well.

        Compares all bytes with the stored hashes and looks for scans in two splits, wrong labels, wrong counts.
        """
        drawn = {name: self.load(name) for name in self.splits[: -len(self.corruption_splits)]}
        stored = {**HASHES["digits"], **HASHES.get(self.name, {})}
        problems = checks.changed(self.fingerprints(), stored)
        problems += checks.overlaps(drawn) + checks.mislabelled(drawn)
        for name, split in drawn.items():
            balanced = np.full(10, PER_CLASS[name] * RENDERINGS[name])
            problems += checks.unbalanced(split, self.train_counts if name == "train" else balanced)
        for name in self.corruption_splits:
            problems += checks.unbalanced(self.load(name), np.full(10, CORRUPTED_PER_CLASS))
        return problems


_kept = functools.cache(kept)
"""What the cache folder held when this process first asked."""


@functools.cache
def _drawn(split: str) -> Split:
    return _kept().get(split) or render(split)


@functools.cache
def _thinned() -> Split:
    return longtail.thin(_drawn("train"))


@functools.cache
def _corrupted(split: str) -> Split:
    if (found := _kept().get(split)) is not None:
        return found
    _, kind, severity = split.split("/")
    clean = _drawn("id_test")
    chosen = _corruption_subset()
    images = corrupt(clean.images[chosen], kind, int(severity), seed=f"digits {RECIPE_VERSION}")
    return Split(split, images, clean.labels[chosen], clean.sources[chosen])


@functools.cache
def _corruption_subset() -> np.ndarray:
    """Positions in ``id_test`` of the images that are corrupted: one picture each of ten scans a class."""
    clean = _drawn("id_test")
    chosen = []
    for label in range(10):
        first = np.flatnonzero(clean.labels == label)[:: RENDERINGS["id_test"]]
        chosen.append(first[Draws("digits corruption subset", label).order(len(first))[:CORRUPTED_PER_CLASS]])
    return np.sort(np.concatenate(chosen))
