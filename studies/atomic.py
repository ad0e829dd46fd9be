"""Files that are whole or absent: written under a temporary name, flushed to disk, then renamed."""

import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO

TEMPORARY_PREFIX = ".writing-"


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Writes a file so that readers see the old one or the new one, never a part.

    Args:
        path: Where the file ends up; its folder exists.
        write: Receives a binary file open for writing.

    Raises:
        OSError: If the disk is full or the folder cannot be written; the temporary file is gone and an older
            file under ``path`` is untouched.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_atomically(folder / "a.txt", lambda file: file.write(b"one"))
        >>> (folder / "a.txt").read_bytes()
        b'one'
    """
    temporary = path.parent / f"{TEMPORARY_PREFIX}{path.name}-{uuid.uuid4().hex[:8]}"
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes text atomically, as UTF-8."""
    write_atomically(path, lambda file: file.write(text.encode()))


def remove_temporary_files(folder: Path) -> None:
    """Removes what a killed writer left behind in a folder."""
    for left_over in folder.glob(f"{TEMPORARY_PREFIX}*"):
        left_over.unlink(missing_ok=True)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush_folder(folder: Path) -> None:
    # The rename itself is lost in a power cut unless the folder reaches the disk; some systems cannot open folders.
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
