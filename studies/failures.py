"""The kinds in which a cell can fail, how an exception is sorted into them, and which are tried again."""

import errno
import traceback as traceback_module
from dataclasses import dataclass, field, replace

PREEMPTED = "preempted"
OUT_OF_MEMORY = "out_of_memory"
DIVERGED = "diverged"
BAD_DATA = "bad_data"
DISK_FULL = "disk_full"
CODE_ERROR = "code_error"
PRUNED = "pruned"

KINDS: dict[str, str] = {
    PREEMPTED: "the process was ended from outside",
    OUT_OF_MEMORY: "memory ran out",
    DIVERGED: "the loss left the finite numbers: a result, not an accident",
    BAD_DATA: "the benchmark or its pretrained model cannot be read",
    DISK_FULL: "the disk ran full, or became read-only",
    CODE_ERROR: "the code raised an error",
    PRUNED: "a search ended it early: a result, not an accident",
}

ATTEMPTS = {PREEMPTED: 10, OUT_OF_MEMORY: 3}
"""How often one run tries a cell that fails so: memory that ran out may be had later, but seldom more than twice."""
RETRIED = tuple(ATTEMPTS)
"""Kinds tried again without being asked, within a run and by the next: another attempt may well succeed."""
RESUMED = (*RETRIED, DISK_FULL)
"""Kinds tried again by the next run: whoever starts it after a full disk has made space."""


class Diverged(RuntimeError):
    """The loss, the gradient or the logits of a run are no longer finite."""


class Pruned(RuntimeError):
    """A search ended the run before its last step, from its ID validation alone."""


class BadData(RuntimeError):
    """The benchmark or its pretrained model cannot be read or is not what its manifest says."""


class Impossible(ValueError):
    """Settings that a model or a method cannot go with, which only the built model knows."""


class LostProcess(RuntimeError):
    """One of the processes that train a cell together is gone.

    Args:
        rank: Its number.
        how: How it ended.
        failure: Why, if it could tell.
    """

    def __init__(self, rank: int, how: str, failure: "Failure | None" = None) -> None:
        super().__init__(f"process {rank} of the cell {how}")
        self.rank, self.failure = rank, failure


class Stopped(Exception):
    """The run was asked to stop and has written its checkpoint."""


@dataclass(frozen=True)
class Failure:
    """Why a cell has no result.

    Attributes:
        kind: One of ``KINDS``.
        message: One line.
        traceback: The whole story, possibly empty.
        attempts: How often the cell has been tried and failed.
        log: The last lines that its worker wrote.
    """

    kind: str
    message: str
    traceback: str = field(default="", repr=False)
    attempts: int = 1
    log: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"a failure's kind is one of {', '.join(KINDS)}, got {self.kind!r}")


_NO_MORE_WRITES = ("No space left on device", "Disk quota exceeded", "Read-only file system")


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or what caused it, says that no space is left, or that the disk takes no more writes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            return True
        # Writers in other languages wrap the errno away and leave only its text.
        if any(text in str(cause) for text in _NO_MORE_WRITES):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def sort_failure(error: BaseException, attempts: int = 1) -> Failure:
    """The kind of an exception, with its message and traceback.

    Example:
        >>> sort_failure(Diverged("loss is nan at step 3")).kind
        'diverged'
        >>> sort_failure(ZeroDivisionError("division by zero")).message
        'ZeroDivisionError: division by zero'
    """
    if isinstance(error, LostProcess) and error.failure is not None:
        return replace(error.failure, message=f"process {error.rank}: {error.failure.message}", attempts=attempts)
    if isinstance(error, LostProcess):
        kind, message = PREEMPTED, str(error)
    elif isinstance(error, Diverged):
        kind, message = DIVERGED, str(error)
    elif isinstance(error, Pruned):
        kind, message = PRUNED, str(error)
    elif isinstance(error, BadData | _data_error()):
        kind, message = BAD_DATA, str(error)
    elif is_disk_full(error):
        kind, message = DISK_FULL, str(error)
    elif isinstance(error, MemoryError) or _is_torch_out_of_memory(error):
        kind, message = OUT_OF_MEMORY, str(error) or type(error).__name__
    else:
        kind, message = CODE_ERROR, f"{type(error).__name__}: {error}"
    story = "".join(traceback_module.format_exception(error))
    first_line = message.strip().splitlines()[0] if message.strip() else type(error).__name__
    return Failure(kind, first_line, story, attempts)


def _data_error() -> type[Exception]:
    # Asked for only when something has failed: benchmarks need not be imported to sort a full disk.
    from studies.benchmarks import DataError

    return DataError


def _is_torch_out_of_memory(error: BaseException) -> bool:
    # By name and text: this file must work where torch is not installed.
    return type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator: can't allocate memory" in str(error)
