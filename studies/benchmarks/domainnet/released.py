"""DomainNet in the layout that WILDS 2.0 releases, with its split of sketch to real."""

from __future__ import annotations

import csv
import functools
from pathlib import Path

import numpy as np

from studies.benchmarks.cut import cut
from studies.benchmarks.domainnet.protocol import ID_VALIDATION, SEED, released_facts
from studies.benchmarks.facts import Facts
from studies.benchmarks.files import FileBenchmark
from studies.benchmarks.listing import Listing, require_inside, require_labels
from studies.benchmarks.roots import DataError, require

SOURCE, TARGET = "sketch", "real"

OFFICIAL = {
    "train": (SOURCE, "train"),
    "id_val": (SOURCE, "train"),
    "id_test": (SOURCE, "test"),
    "ood/real": (TARGET, "test"),
    "ood_val": (TARGET, "train"),
}
"""Our names of splits to a domain and a part of it. WILDS has no ID validation: it is cut from training."""

COLUMNS = ("image_path", "domain", "split", "category", "y")


class WildsDomainNet(FileBenchmark):
    """DomainNet as WILDS 2.0 has it: ``train`` and ``id_val`` make its ``train``, ``ood/real`` is its ``test``.

    Args:
        data: The data folder; by default ``$GMIXOUT_DATA``.
        name: The benchmark's name.
        is_sentry: Whether to read the 40-class table instead of the 345-class one.
        facts: What is known of it; by default what its publishers say.

    Raises:
        DataError: If its folder is not there.
    """

    ood_splits = ("ood/real",)

    def __init__(
        self,
        data: Path | None = None,
        name: str = "domainnet-wilds",
        is_sentry: bool = False,
        facts: Facts | None = None,
    ) -> None:
        facts = facts or released_facts(is_sentry)
        super().__init__(name, facts, require(name, facts, data) / facts.folder, str(is_sentry))
        self.table = self.folder / ("sentry_metadata.csv" if is_sentry else "metadata.csv")

    @functools.cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the categories in the table.

        Raises:
            DataError: If a label has two names or none.
        """
        names: dict[int, str] = {}
        for number, row in enumerate(self._rows):
            if names.setdefault(row["y"], row["category"]) != row["category"]:
                raise DataError(
                    f"{self.table} line {number + 2} names class {row['y']} {row['category']!r}, "
                    f"an earlier one {names[row['y']]!r}"
                )
        if missing := [label for label in range(self.facts.classes) if label not in names]:
            raise DataError(f"{self.table} has no row of {len(missing)} classes, the first is {missing[0]}")
        return tuple(names[label] for label in range(self.facts.classes))

    @functools.cached_property
    def _rows(self) -> list[dict]:
        # Here, since pandas takes half a second to import.
        import pandas as pd

        try:
            frame = pd.read_csv(
                self.table, usecols=list(COLUMNS), keep_default_na=False, na_values=[], quoting=csv.QUOTE_NONNUMERIC
            )
            frame["y"] = frame["y"].astype(int)
        except FileNotFoundError as error:
            raise DataError(f"there is no {self.table}") from error
        except ValueError as error:
            raise DataError(f"{self.table} must be a table with the columns {', '.join(COLUMNS)}: {error}") from error
        return frame.to_dict("records")

    def _list(self, split: str) -> Listing:
        domain, part = OFFICIAL[split]
        chosen = [number for number, row in enumerate(self._rows) if row["domain"] == domain and row["split"] == part]
        if not chosen:
            raise DataError(f"{self.table} has no row of {domain} {part}")
        names = [self._rows[number]["image_path"] for number in chosen]
        labels = np.array([self._rows[number]["y"] for number in chosen], np.int64)
        # The first row is line 2.
        files = Listing(self.folder, names, labels, str(self.table), np.array(chosen, np.int64) + 2)
        require_labels(files, self.facts.classes)
        require_inside(files)
        if split not in ("train", "id_val"):
            return files
        is_validation = cut(files.names, files.labels, "domainnet id_val", SEED, fraction=ID_VALIDATION)
        return files.take(np.flatnonzero(is_validation if split == "id_val" else ~is_validation))
