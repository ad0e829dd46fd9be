"""Where workers come from: a server that imports once what they need, and of which each is a copy.

Importing torch and what stands on it takes seconds of a core, a copy of a process milliseconds: so any number of
workers, and those that replace dead ones, cost one import. The server has one thread, touches no GPU and ends with the
last process that can reach it.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

ALONE = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""A fork copies one thread: Arrow's allocator does without its own."""


def one_thread_a_core(cores: int) -> dict[str, str]:
    """Environment variables for libraries that read them only when they are first imported.

    Example:
        >>> one_thread_a_core(2)["OMP_NUM_THREADS"]
        '2'
    """
    return dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(cores))


def worker_context(preload: Sequence[str], threads: int = 1) -> BaseContext:
    """How to start workers. The first call starts the server; it returns at once, while the server still imports.

    Workers get what this process has when they are started, and not what it had when the server was: working folder
    and ``sys.path`` by themselves, the environment if they are handed it.

    Args:
        preload: Modules that the server imports; only those of the first call in a process are.
        threads: Of each worker. More than one are started while libraries are imported, and a fork copies only one:
            such workers import for themselves.
    """
    # On other systems, libraries of theirs may not be used after a fork.
    if sys.platform != "linux" or threads > 1:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    # The server looks for modules where this process does, and nowhere else.
    paths = os.pathsep.join(dict.fromkeys(path or os.getcwd() for path in sys.path))
    with _changed(one_thread_a_core(1) | ALONE | {"PYTHONPATH": paths, "PYTHONSAFEPATH": "1"}), _deaf():
        forkserver.ensure_running()
    return context


@contextmanager
def _changed(environment: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _deaf() -> Iterator[None]:
    """What starts here ignores Ctrl-C and SIGTERM, and so do its copies until they have handlers of their own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
