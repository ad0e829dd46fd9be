"""Where the data lies: one folder, named by the caller or the environment, with a folder for each benchmark."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from studies.benchmarks.facts import Facts

VARIABLE = "GMIXOUT_DATA"


class DataError(ValueError):
    """Data that is missing or damaged; the message says what, and what to do."""


def cache_folder() -> Path:
    """What is made once and kept: ``$GMIXOUT_CACHE``, or the user's cache folder for ``gmixout``. It may not exist."""
    chosen = os.environ.get("GMIXOUT_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("gmixout")


def data_folder(data: Path | None = None) -> Path | None:
    """The data folder: the given one, or ``$GMIXOUT_DATA``, or none. It may not exist."""
    if data is not None:
        return Path(data)
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def require(name: str, facts: Facts, data: Path | None = None) -> Path:
    """The data folder, in which the benchmark's own folder exists.

    Args:
        name: The benchmark's name.
        facts: What is known of it.
        data: The data folder; by default ``$GMIXOUT_DATA``.

    Raises:
        DataError: If there is no data folder or not the benchmark's in it; the message says what is expected where,
            where to get it, its size and licence, and how to check it.
    """
    folder = data_folder(data)
    if folder is not None and (folder / facts.folder).is_dir():
        return folder
    if folder is None:
        why = f"no data folder is named (by --data or {VARIABLE})"
    elif not folder.is_dir():
        why = f"the data folder {folder} does not exist"
    else:
        why = f"there is no folder {folder / facts.folder}"
    raise DataError(
        f"the benchmark {name} needs its data, but {why}; expected: {facts.folder}/ with {'; '.join(facts.layout)}. "
        f"Get it from {facts.home} ({facts.gigabytes:g} GB; {facts.licence}){_addresses(facts)}, then run "
        f"`gmixout data check {name} --data {folder or 'DATA'}`"
    )


def _addresses(facts: Facts) -> str:
    return f": {'; '.join(facts.get)}" if facts.get else ""


def is_there(facts: Facts, data: Path | None = None) -> bool:
    """Whether the benchmark's folder exists, or none is needed."""
    folder = data_folder(data)
    return facts.is_embedded or (folder is not None and (folder / facts.folder).is_dir())
