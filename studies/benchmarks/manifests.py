"""The hash that pins a benchmark of files: names, sizes and labels; computed once, then remembered."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from studies.atomic import write_atomically
from studies.benchmarks.roots import cache_folder

PROTOCOL_VERSION = 2
"""Raised whenever the same files come to other splits, labels or views; part of every manifest of files.

Since 2, random crops are cut out of whole pictures and not out of the view.
"""

SETTLED_NS = 2 * 10**9
"""A folder that changed less than this ago may change again within one tick of its clock: nothing is remembered."""

_log = logging.getLogger(__name__)


def fingerprint(lines: Iterable[str]) -> str:
    """SHA-256 (hex) of lines, each ended by a newline."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def remembered(subject: str, watched: Iterable[Path], compute: Callable[[], str]) -> str:
    """A manifest, from the user's cache if no watched folder or file has changed since it was computed.

    Folders are watched by the time of their last change: a file that is added, removed or renamed is noticed, also one
    that is replaced as most programs do it. A file that is written over in place is not; ``gmixout data check``
    computes anew.

    Args:
        subject: Names what the manifest is of: benchmark, parameters, place.
        watched: Folders and files that decide the manifest; given in any order.
        compute: Computes it.
    """
    newest, stamp = _stamp(watched)
    file = _folder() / f"{fingerprint([subject])[:32]}.json"
    found = _read(file)
    if found is not None and found["stamp"] == stamp:
        return found["manifest"]
    manifest = compute()
    if time.time_ns() - newest > SETTLED_NS:
        remember(file, {"stamp": stamp, "manifest": manifest})
    return manifest


def remember(file: Path, content: dict[str, str]) -> None:
    """Writes to the cache; a cache that cannot be written is logged, and nothing else."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, lambda stream: stream.write(json.dumps(content).encode()))
    except OSError as error:
        _log.warning("cannot remember a manifest in %s: %s", file.parent, error)


def _folder() -> Path:
    return cache_folder() / "manifests"


def _read(file: Path) -> dict[str, str] | None:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    if isinstance(found, dict) and {"stamp", "manifest"} <= set(found):
        return found
    return None


def _stamp(watched: Iterable[Path]) -> tuple[int, str]:
    times: list[int] = [0]

    def lines() -> Iterator[str]:
        for path in sorted(watched):
            state = os.stat(path)
            times.append(state.st_mtime_ns)
            # The size tells of files; that of a folder depends on the file system.
            yield f"{path} {state.st_mtime_ns} {state.st_size if path.is_file() else ''}"

    stamp = fingerprint([f"protocol {PROTOCOL_VERSION}", *lines()])
    return max(times), stamp
