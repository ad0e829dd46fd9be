"""Cells as tasks of a Ray cluster; the run itself, its plan and its bounds on tries stay where it was started."""

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from studies.engines.ray_post import Post
from studies.engines.ray_task import Errand, run_task
from studies.failures import CODE_ERROR, OUT_OF_MEMORY, PREEMPTED
from studies.messages import Begun, Moving, Task, Verdict
from studies.pool import Died
from studies.settings import Execution

PATIENCE_S = 20.0
"""How long tasks may take to hear of a stop and to save their cells, in seconds."""
LOST = (
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.LocalRayletDiedError,
    ray.exceptions.ObjectLostError,
)
"""What a task ends with whose process or node is gone."""


@dataclass
class FarPlace:
    """A place for a cell that is with Ray.

    Attributes:
        number: Which place.
        log: Where its cells' output goes.
        task: What Ray calls the running task; None where the place is empty.
        attempt: Which try this is.
        has_begun: Whether the task has told that it runs.
    """

    number: int
    log: Path
    task: Any = None
    attempt: str = ""
    has_begun: bool = False


class RayPool:
    """So many cells that are with Ray at once, running or waiting; `studies.engines.hands.Hands`.

    Args:
        places: How many.
        logs: Folder of their logs.
        execution: What a cell needs.
        beacon: A file of the results folder that every node must see.
        environment: Variables of the run that workers need.
    """

    has_queue = True
    patience_s = PATIENCE_S

    def __init__(
        self, places: int, logs: Path, execution: Execution, beacon: Path, environment: Mapping[str, str]
    ) -> None:
        self.slots = [FarPlace(number, logs.absolute() / f"place-{number}.log") for number in range(places)]
        self._beacon, self._environment, self._threads = beacon, dict(environment), execution.cpus
        # What a node's end costs is counted here, by kind of failure: Ray itself tries nothing again.
        self._run, self._how = ray.remote(run_task), demands(execution) | {"max_retries": 0}
        self._post = _start_post(2 * places + 16)
        self._news = self._post.collect.remote()
        self._numbers = itertools.count()

    def send(self, slot: FarPlace, message: Task | Verdict) -> None:
        """Hands a cell to Ray, or a task the verdict that it waits for."""
        if isinstance(message, Verdict):
            self._post.answer.remote(slot.attempt, message.is_pruned)
            return
        task = replace(message, folder=message.folder.absolute())
        slot.attempt, slot.has_begun = f"{slot.number}.{next(self._numbers)}", False
        errand = Errand(slot.attempt, slot.log, self._beacon, self._threads, self._environment)
        named = self._run.options(**self._how, name=f"cell {task.folder.name}")
        slot.task = named.remote(task, self._post, errand)

    def receive(self, timeout_s: float) -> Iterator[tuple[FarPlace, object]]:
        """Messages that have come, after waiting for the first; a lost task's last message is ``Died``."""
        busy = [slot for slot in self.slots if slot.task is not None]
        if not busy:
            time.sleep(timeout_s)
            return
        waiting = [self._news, *(slot.task for slot in busy)]
        ray.wait(waiting, timeout=timeout_s)
        ended, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
        if self._news in ended:
            by_attempt = {slot.attempt: slot for slot in busy}
            told, self._news = ray.get(self._news), self._post.collect.remote()
            for attempt, message in told:
                # Whatever else comes is of an earlier try.
                if slot := by_attempt.get(attempt):
                    yield from self._heard(slot, message)
        for slot in busy:
            if slot.task in ended:
                task, slot.task, slot.attempt = slot.task, None, ""
                yield slot, _end_of(task)

    def replace(self, slot: FarPlace) -> None:
        """The place is free for another cell: there is no process of ours to start."""

    def retire(self, slot: FarPlace) -> None:
        """The place stays empty."""

    def stop(self) -> None:
        """Asks running cells to save themselves, and takes back those that still wait."""
        self._post.stop.remote()
        for slot in self.slots:
            if slot.task is not None and not slot.has_begun:
                ray.cancel(slot.task)

    def close(self, patience_s: float) -> None:
        """Ends what still runs once ``patience_s`` are over, by force."""
        left = [slot.task for slot in self.slots if slot.task is not None]
        if left and patience_s > 0:
            ray.wait(left, num_returns=len(left), timeout=patience_s)
        for task in left:
            ray.cancel(task, force=True)
        ray.kill(self._post)

    def _heard(self, slot: FarPlace, message: object) -> Iterator[tuple[FarPlace, object]]:
        if not slot.has_begun and isinstance(message, Begun | Moving):
            slot.has_begun = True
            yield slot, Begun()
        if not isinstance(message, Begun):
            yield slot, message


def demands(execution: Execution) -> dict[str, float]:
    """What a cell asks of Ray, by Ray's names.

    Example:
        >>> demands(Execution(cpus=4, gpus=1, memory_gb=2))
        {'num_cpus': 4, 'num_gpus': 1, 'memory': 2000000000}
    """
    asked: dict[str, float] = {"num_cpus": execution.cpus, "num_gpus": execution.gpus_needed}
    return asked if execution.memory_gb is None else asked | {"memory": int(execution.memory_gb * 1e9)}


def _start_post(attempts: int) -> Any:
    # Beside this process: whatever befalls other nodes leaves it alone.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(Post).options(num_cpus=0, max_concurrency=attempts, scheduling_strategy=here)
    return actor.remote()


def _end_of(task: Any) -> object:
    try:
        return ray.get(task)
    except ray.exceptions.TaskCancelledError:
        return Died("it was taken back before it began", is_orderly=True)
    except ray.exceptions.OutOfMemoryError:
        return Died("Ray ended its process, since the node's memory ran out", OUT_OF_MEMORY, is_far=True)
    except LOST as error:
        return Died(f"its process or node is gone ({_line(error)})", PREEMPTED, is_far=True)
    except ray.exceptions.RayError as error:
        return Died(f"Ray could not run it: {_line(error)}", CODE_ERROR, is_far=True)


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # Of an error on the node the last line says what it was.
    return lines[-1 if isinstance(error, ray.exceptions.RayTaskError) else 0][:300]
