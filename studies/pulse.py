"""Heartbeats of trials in a database, and the watch over those of other machines."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy

from studies.storage import UNREACHABLE, Database

_RUNNING = sqlalchemy.text(
    "SELECT trials.trial_id, trial_heartbeats.heartbeat FROM trials "
    "LEFT JOIN trial_heartbeats ON trials.trial_id = trial_heartbeats.trial_id "
    "WHERE trials.study_id = :study AND trials.state = 'RUNNING'"
)
_BEAT = sqlalchemy.text(
    "UPDATE trial_heartbeats SET heartbeat = CURRENT_TIMESTAMP WHERE trial_id = ANY(:own) RETURNING trial_id"
)

logger = logging.getLogger(__name__)


class Pulse:
    """Keeps this process's trials alive, and finds those of processes that are gone.

    A heartbeat is compared with the last one seen of the same trial, never with a clock, and only while this process
    has talked with the database without a break: after an outage everybody has time to be heard again, and a server
    whose clock jumps kills nothing.

    Args:
        database: Keeps the heartbeats.
        study: Optuna's number of the study.
        abandon: Called with the number of a trial that has been silent for long enough.
    """

    def __init__(self, database: Database, study: int, abandon: Callable[[int], object]) -> None:
        self._database, self._study, self._abandon = database, study, abandon
        self._own: set[int] = set()
        self._watched: dict[int, tuple[Any, float]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plan-heartbeat", daemon=True)
        self._thread.start()

    def begin(self, trial: int) -> None:
        """From now on, the trial is this process's."""
        with self._lock:
            self._own.add(trial)

    def end(self, trial: int) -> None:
        """The trial is over, or another process's."""
        with self._lock:
            self._own.discard(trial)

    def stop(self) -> None:
        """No heartbeat from now on."""
        self._ended.set()
        self._thread.join(self._database.heartbeat_s)

    def _run(self) -> None:
        while not self._ended.wait(self._database.heartbeat_s):
            try:
                self._beat()
                self._watch()
            except UNREACHABLE as error:
                logger.info("no heartbeat: %s", self._database.told(error))
                self._watched.clear()
        self._database.rdb.remove_session()

    def _beat(self) -> None:
        with self._lock:
            own = set(self._own)
        with self._database.rdb.engine.begin() as connection:
            # All at once: one by one, many trials on a busy database would take longer than anyone waits for them.
            beaten = connection.execute(_BEAT, {"own": list(own)}).scalars()
            fresh = own.difference(beaten)
        for trial in fresh:
            self._database.rdb.record_heartbeat(trial)

    def _watch(self) -> None:
        with self._database.rdb.engine.connect() as connection:
            found = {int(trial): beat for trial, beat in connection.execute(_RUNNING, {"study": self._study})}
        now = time.monotonic()
        with self._lock:
            others = {trial: beat for trial, beat in found.items() if trial not in self._own}
        self._watched = {
            trial: seen if (seen := self._watched.get(trial)) and seen[0] == beat else (beat, now)
            for trial, beat in others.items()
        }
        for trial, (_, since) in list(self._watched.items()):
            if now - since > self._database.grace_s:
                self._abandon(trial)
                del self._watched[trial]
