"""What a machine has left: memory, also within a container's limit, memory of a GPU, room on a disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Files with a container's limit and what of it is in use: of control groups, version 2 and 1."""


def free_memory() -> int:
    """Bytes of memory that programs may still take on this machine, or within this container.

    Example:
        >>> free_memory() > 0
        True
    """
    found = [_available()]
    for limit, used in _LIMITS:
        try:
            found.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        # No such limit here, or the word for none.
        except (OSError, ValueError):
            continue
    return max(0, min(found))


def free_gpu_memory() -> int:
    """Bytes that are left of the GPU's own memory."""
    import torch

    return int(torch.cuda.mem_get_info()[0])


def free_disk(folder: Path) -> int:
    """Bytes that are left on the disk where a folder is, or would be."""
    existing = folder.resolve()
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


def spoken_bytes(count: float) -> str:
    """Bytes in words of decimal units.

    Example:
        >>> spoken_bytes(260_975_724), spoken_bytes(12), spoken_bytes(11.2e9)
        ('261 MB', '12 B', '11.2 GB')
    """
    for power, unit in ((12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")):
        if count >= 10**power:
            scaled = count / 10**power
            return f"{scaled:.0f} {unit}" if scaled >= 100 else f"{scaled:.3g} {unit}"
    return f"{count:.0f} B"


def _available() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
