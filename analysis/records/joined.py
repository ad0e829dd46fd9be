"""Many shards joined in one file a table, beside them: ten thousand cells are read in a second, not in minutes.

The shards are the truth. An index names what each looked like when it was joined, by the sizes and times of its files;
a shard that looks otherwise is read anew. Whatever is wrong with the index, it is left aside. Its files are written
under new names before the index that names them is replaced, so a crash leaves the old one or the new one.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.records.schema import SCHEMA_VERSION, TABLES

FOLDER = ".joined"
INDEX = "index.json"
FEWEST = 200
"""Fewer shards are read about as fast one by one."""

Stamp = list[int]
Tables = dict[str, pa.Table]


def stamp(shard: str) -> Stamp | None:
    """Size and time of change of a finished shard's marker and tables; None if one is missing.

    Args:
        shard: Its folder.
    """
    found: Stamp = []
    try:
        for name in ("DONE", *(f"{table}.parquet" for table in TABLES)):
            state = os.stat(f"{shard}/{name}")
            found += (state.st_size, state.st_mtime_ns)
    except OSError:
        return None
    return found


class Joined:
    """What was joined of a results folder.

    Args:
        root: The results folder.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / FOLDER
        self.shards: dict[str, Stamp] = {}
        self.ingredients: dict[str, Stamp] = {}
        self._files: dict[str, list[str]] = {}
        with suppress(OSError, ValueError, KeyError, TypeError):
            index = json.loads((self._folder / INDEX).read_text())
            if index["schema_version"] == SCHEMA_VERSION and set(index["files"]) == set(TABLES):
                self._files = index["files"]
                self.shards, self.ingredients = index["shards"], index["ingredients"]

    def tables(self) -> Tables | None:
        """The joined tables; None where a file is missing or is not what the index says."""
        found = {}
        for name, (file, expected) in self._files.items():
            try:
                content = (self._folder / Path(file).name).read_bytes()
                if hashlib.sha256(content).hexdigest() != expected:
                    return None
                found[name] = pq.read_table(pa.BufferReader(content), use_threads=False)
            except (OSError, pa.ArrowException):
                return None
        return found or None

    def write(self, tables: Tables, shards: dict[str, Stamp], ingredients: dict[str, Stamp]) -> None:
        """Replaces what was joined; a folder that cannot be written keeps what it has.

        Args:
            tables: Of all these shards, in canonical order.
            shards: What each looked like before it was read, by name.
            ingredients: The same of finished shards that are no results.
        """
        files = {name: f"{name}-{uuid.uuid4().hex[:12]}.parquet" for name in TABLES}
        hashes = {}
        if self._folder.is_symlink():
            # Somebody else's results folder must not make us write, or remove, outside it.
            return
        try:
            self._folder.mkdir(exist_ok=True)
            for name, file in files.items():
                sink = pa.BufferOutputStream()
                pq.write_table(tables[name], sink, compression="zstd")
                content = sink.getvalue()
                hashes[name] = hashlib.sha256(content).hexdigest()
                self._put(file, content)
            index = {
                "schema_version": SCHEMA_VERSION,
                "files": {name: [files[name], hashes[name]] for name in TABLES},
                "shards": shards,
                "ingredients": ingredients,
            }
            self._put(INDEX, json.dumps(index).encode())
        except OSError:
            self._remove(list(files.values()))
            return
        earlier = [path.name for name in TABLES for path in self._folder.glob(f"{name}-*.parquet")]
        self._remove([name for name in earlier if name not in files.values()])

    def _put(self, name: str, content: bytes | pa.Buffer) -> None:
        temporary = self._folder / f".{name}.{uuid.uuid4().hex[:8]}.tmp"
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._folder / name)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            with suppress(OSError):
                (self._folder / name).unlink()
