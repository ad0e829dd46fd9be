"""What a run of a study achieved."""

from dataclasses import dataclass, field

from studies.failures import DISK_FULL, Failure


@dataclass
class Outcome:
    """What a run achieved.

    Attributes:
        finished: Cells done by this run.
        failures: Cells that failed in this run and were not mended by another attempt.
        elsewhere: Cells that other machines ended meanwhile: ``done``, or the kind of their failure.
        is_stopped: Whether it was asked to stop before the end.
    """

    finished: list[str] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)
    is_stopped: bool = False

    @property
    def disk_full(self) -> Failure | None:
        """The failure that says that the disk is full, if there is one."""
        return next((failure for failure in self.failures.values() if failure.kind == DISK_FULL), None)
