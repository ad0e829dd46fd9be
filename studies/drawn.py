"""Figures and tables that a run has left, where they are still those of the records."""

import shutil
from collections.abc import Callable
from pathlib import Path


def drawn(results: Path, fingerprint: str, folder: Path, make: Callable[[Path], object]) -> None:
    """Puts figures or tables into a folder: those there are of these very records, or else new ones.

    Args:
        results: Where a run may have left them; each CSV file there names its records.
        fingerprint: Of the records they must be of.
        folder: Where they go; does not exist yet.
        make: Writes them into a folder.
    """
    numbers = list(results.glob("*.csv"))
    first = f"# records sha256:{fingerprint}\n"
    if numbers and all(path.read_text(encoding="utf-8").startswith(first) for path in numbers):
        shutil.copytree(results, folder)
    else:
        make(folder)
