"""SHA-256 of large files, computed once: remembered with the size and time the file had then."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from studies.atomic import file_hash, write_text
from studies.benchmarks.roots import cache_folder


def remembered_hash(path: Path) -> str:
    """The SHA-256 of a file, in hex; it is read anew if its size or its time of change is another than remembered.

    What is remembered lies in the cache folder under a hash of the file's path. Where that cannot be written, nothing
    is remembered.

    Args:
        path: The file.

    Raises:
        OSError: If the file cannot be read.
    """
    place = path.resolve()
    facts = place.stat()
    state = {"size": facts.st_size, "changed_ns": facts.st_mtime_ns}
    memory = cache_folder() / "hashes" / f"{hashlib.sha256(str(place).encode()).hexdigest()[:16]}.json"
    try:
        known = json.loads(memory.read_text())
        if {name: known[name] for name in state} == state:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = file_hash(place)
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_text(memory, json.dumps(state | {"sha256": found}))
    except OSError:
        pass
    return found
