"""Anyone's own images: trees of class folders, one to train on and any number of others that are OOD."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from studies.benchmarks.cut import cut
from studies.benchmarks.facts import TOGETHER, Facts
from studies.benchmarks.files import FileBenchmark
from studies.benchmarks.listing import Listing, class_folders, read_tree
from studies.benchmarks.roots import DataError

PARTS = {"train": "train", "id_val": "val", "id_test": "test"}
"""Our names of ID splits to folders of an ID root that is split already."""


class Folder(FileBenchmark):
    """Image folders as torchvision's ``ImageFolder`` has them: ``<root>/<class>/.../<image>``.

    The ID root is either one tree of classes, parted by the seed, or holds ``train/`` and at least one of ``val/`` and
    ``test/``; what is missing of these two is cut from ``train/``. Classes are those of the ID training tree, sorted.
    An OOD root may lack classes, but may not have others.

    Args:
        name: The benchmark's name, of the user's choice.
        id_root: The ID tree.
        ood_roots: Names of OOD domains to their trees.
        id_val_fraction: Part of each class that becomes ``id_val``, if there is no ``val/``.
        id_test_fraction: Part of each class that becomes ``id_test``, if there is no ``test/``.
        seed: Of the cuts.
        metric: ``accuracy`` or ``macro_f1``.

    Raises:
        DataError: If a root is not there.
        ValueError: If a name, a fraction or the metric is not allowed.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("oak", "ash"):
        ...     (root / name).mkdir()
        >>> Folder("leaves", root, {}).classes
        ('ash', 'oak')
    """

    def __init__(
        self,
        name: str,
        id_root: str | Path,
        ood_roots: Mapping[str, str | Path],
        id_val_fraction: float = 0.1,
        id_test_fraction: float = 0.2,
        seed: int = 0,
        metric: str = "accuracy",
    ) -> None:
        if metric not in ("accuracy", "macro_f1"):
            raise ValueError(f"metric must be accuracy or macro_f1, got {metric!r}")
        if id_val_fraction <= 0 or id_test_fraction <= 0 or id_val_fraction + id_test_fraction >= 1:
            raise ValueError(
                "id_val_fraction and id_test_fraction must be positive and leave something to train on, "
                f"got {id_val_fraction} and {id_test_fraction}"
            )
        if wrong := [domain for domain in ood_roots if not domain or "/" in domain]:
            raise ValueError(f"names of OOD domains must not be empty or hold a slash, got {wrong[0]!r}")
        self.roots = {domain: Path(root) for domain, root in ood_roots.items()}
        for root in (Path(id_root), *self.roots.values()):
            if not root.is_dir():
                raise DataError(f"{name} needs the folder {root}, which is not there")
        self.is_parted = (Path(id_root) / PARTS["train"]).is_dir()
        tree = Path(id_root) / PARTS["train"] if self.is_parted else Path(id_root)
        found = class_folders(tree)
        if not found:
            raise DataError(f"{tree} has no class folders; images lie in <root>/<class>/")
        self._tree_classes = tuple(found)
        facts = Facts(
            title="a user's own image folders",
            home="the user's own",
            licence="the user's to say",
            gigabytes=0,
            folder=Path(id_root).resolve().name,
            layout=("a folder for each class",),
            classes=len(found),
            images={f"train{TOGETHER}id_val{TOGETHER}id_test": None, **{f"ood/{d}": None for d in self.roots}},
            metric=metric,
        )
        parameters = f"{id_val_fraction} {id_test_fraction} {seed} {sorted((d, str(r)) for d, r in self.roots.items())}"
        super().__init__(name, facts, Path(id_root), parameters)
        self.id_val_fraction, self.id_test_fraction, self.seed = id_val_fraction, id_test_fraction, seed
        self.ood_splits = tuple(f"ood/{domain}" for domain in self.roots)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the class folders of the ID training tree, sorted."""
        return self._tree_classes

    def absent_classes(self, split: str) -> tuple[str, ...]:
        """Classes of which a split has no image; allowed off ID, and worth knowing."""
        counts = np.bincount(self.listing(split).labels, minlength=len(self.classes))
        return tuple(self.classes[label] for label in np.flatnonzero(counts == 0))

    def _read(self, root: Path, inside: str = "", place: str = "") -> Listing:
        if unknown := sorted(set(class_folders(root / inside)) - set(self.classes)):
            raise DataError(
                f"{root / inside} has {len(unknown)} folders that are no class of the ID training tree: "
                f"{', '.join(unknown[:5])}; rename or remove them"
            )
        return read_tree(root, inside, {name: label for label, name in enumerate(self.classes)}, place)

    @functools.cached_property
    def _parted(self) -> dict[str, Listing]:
        """The ID splits: those that have folders, and what is cut from training for those that have none."""
        given = {split: part for split, part in PARTS.items() if self.is_parted and (self.folder / part).is_dir()}
        found = {split: self._read(self.folder, part) for split, part in given.items()}
        rest = found.get("train") or self._read(self.folder)
        for split, fraction, left in (
            ("id_test", self.id_test_fraction, 1.0),
            ("id_val", self.id_val_fraction, 1.0 if "id_test" in found else 1.0 - self.id_test_fraction),
        ):
            if split not in found:
                # Of what is left: fractions are of the whole tree.
                part = cut(rest.names, rest.labels, "folder", split, self.seed, fraction=fraction / left)
                found[split], rest = rest.take(np.flatnonzero(part)), rest.take(np.flatnonzero(~part))
        return found | {"train": rest}

    def _list(self, split: str) -> Listing:
        if split.startswith("ood/"):
            return self._read(self.roots[split.removeprefix("ood/")], place=split)
        return self._parted[split]
