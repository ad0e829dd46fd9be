"""iWildCam as WILDS 2.0 has it: animals before camera traps, trained on some cameras, tested on those and on others."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from studies.benchmarks.facts import Facts
from studies.benchmarks.files import FileBenchmark
from studies.benchmarks.listing import Listing, require_inside, require_labels
from studies.benchmarks.roots import DataError, require

OFFICIAL = {"train": "train", "id_val": "id_val", "id_test": "id_test", "ood/test": "test", "ood_val": "val"}
"""Our names of splits to WILDS' names."""

FACTS = Facts(
    title="animals before camera traps; other cameras are OOD",
    home="https://wilds.stanford.edu/datasets/#iwildcam",
    licence="CDLA-Permissive-1.0",
    gigabytes=12,
    folder="iwildcam_v2.0",
    layout=("metadata.csv", "train/ with all images", "RELEASE_v2.0.txt", "categories.csv with the species' names"),
    classes=182,
    images={"train": 129_809, "id_val": 7_314, "id_test": 8_154, "ood/test": 42_791},
    metric="macro_f1",
    unused={"ood_val": "WILDS' val: other cameras; a choice that looked at it would have seen OOD data"},
    # Cameras see what passes by: a rare species may be in the test splits alone.
    may_lack_classes=True,
    get=(
        "https://worksheets.codalab.org/rest/bundles/0x6313da2b204647e79a14b468131fcd64/contents/blob/ "
        "(a tar.gz of 11 957 420 032 bytes, to be extracted into iwildcam_v2.0/)",
        "or, with the package wilds: "
        "python -c \"import wilds; wilds.get_dataset('iwildcam', root_dir='DATA', download=True)\"",
    ),
)


class IWildCam(FileBenchmark):
    """iWildCam in the format of WILDS 2.0, with its official splits.

    ``id_val`` selects, ``id_test`` is ID, ``ood/test`` is OOD; WILDS' ``val`` is ``ood_val`` and enters nothing. The
    score is macro-F1 over the labels that a split holds.

    Args:
        data: The data folder; by default ``$GMIXOUT_DATA``.
        name: The benchmark's name.
        facts: What is known of it.

    Raises:
        DataError: If its folder is not there.
    """

    ood_splits = ("ood/test",)

    def __init__(self, data: Path | None = None, name: str = "iwildcam", facts: Facts = FACTS) -> None:
        super().__init__(name, facts, require(name, facts, data) / facts.folder)

    @functools.cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the species from ``categories.csv``; ``class 17`` where it is not there."""
        count = self.facts.classes
        names = {label: f"class {label}" for label in range(count)}
        file = self.folder / "categories.csv"
        if file.is_file():
            # Species that WILDS left out have the label 99999.
            names |= {label: name for label, name in self._read(file, ["y", "name"]) if label in names}
        return tuple(names[label] for label in range(count))

    def check(self) -> list[str]:
        """Returns what is wrong with the data, each problem one sentence; empty if all is well."""
        found = super().check()
        if not (self.folder / "RELEASE_v2.0.txt").is_file():
            found.append(f"{self.folder} has no RELEASE_v2.0.txt, as a finished extraction of WILDS 2.0 has")
        if not (self.folder / "categories.csv").is_file():
            found.append(
                f"{self.folder} has no categories.csv (columns y, name): classes have numbers for names, "
                "which a zero-shot head can make nothing of"
            )
        return found

    def _list(self, split: str) -> Listing:
        file = self.folder / "metadata.csv"
        rows = self._rows
        chosen = np.array([number for number, (part, _, _) in enumerate(rows) if part == OFFICIAL[split]], np.int64)
        if not len(chosen):
            raise DataError(f"{file} has no row of the split {OFFICIAL[split]}")
        names = [f"train/{rows[number][1]}" for number in chosen.tolist()]
        labels = np.array([rows[number][2] for number in chosen.tolist()], np.int64)
        # The first row is line 2.
        found = Listing(self.folder, names, labels, str(file), chosen + 2)
        require_labels(found, self.facts.classes)
        require_inside(found)
        return found

    @functools.cached_property
    def _rows(self) -> list[tuple[str, str, int]]:
        rows = self._read(self.folder / "metadata.csv", ["split", "filename", "y"])
        unknown = {part for part, _, _ in rows} - set(OFFICIAL.values())
        if unknown:
            raise DataError(
                f"metadata.csv names the splits {', '.join(sorted(map(str, unknown)))}; "
                f"WILDS 2.0 has {', '.join(sorted(OFFICIAL.values()))}"
            )
        return rows

    @staticmethod
    def _read(file: Path, columns: list[str]) -> list[tuple]:
        # Here, since pandas takes half a second to import.
        import pandas as pd

        try:
            frame = pd.read_csv(file, usecols=columns, keep_default_na=False)
        except FileNotFoundError as error:
            raise DataError(f"there is no {file}") from error
        except (ValueError, UnicodeDecodeError) as error:
            raise DataError(f"{file} must be a table with the columns {', '.join(columns)}: {error}") from error
        if not pd.api.types.is_integer_dtype(frame["y"]):
            raise DataError(f"{file} must have whole numbers in the column y")
        return list(zip(*(frame[column].tolist() for column in columns)))
