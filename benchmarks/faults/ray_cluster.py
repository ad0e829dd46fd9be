"""A real Ray cluster on loopback, to which nodes are added and whose nodes are killed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from studies.engines.ray_cluster import quick_start

HOST = "127.0.0.1"
ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Without it Ray takes loopback for the machine's outer address, where nothing of this cluster listens."""


@contextmanager
def ray_head(host: str = HOST) -> Iterator[Any]:
    """A cluster whose head runs one cell at a time; a `ray.cluster_utils.Cluster`.

    Args:
        host: Where it listens.
    """
    os.environ |= ON_LOOPBACK
    try:
        with quick_start():
            from ray.cluster_utils import Cluster

            cluster = Cluster(True, head_node_args={"node_ip_address": host, "num_cpus": 1, "include_dashboard": False})
            try:
                yield cluster
            finally:
                cluster.shutdown()
    finally:
        for name in ON_LOOPBACK:
            del os.environ[name]


def is_within(pid: int, ancestor: int) -> bool:
    """Whether a process descends from another one."""
    while pid > 1:
        if pid == ancestor:
            return True
        try:
            with open(f"/proc/{pid}/stat") as file:
                pid = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False
