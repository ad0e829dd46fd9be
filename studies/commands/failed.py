"""What failed, each with the last lines of its log; and `gmixout study retry`, which lets cells be tried again."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from studies.commands.saying import say
from studies.failures import KINDS, Failure
from studies.lease import Leased
from studies.opened import Opened
from studies.settings import CellSettings
from studies.store import FAILED, State, Store

if TYPE_CHECKING:
    from studies.plan import Plan

DAMAGED = "damaged"
"""Not a kind of failure: finished cells whose files are no longer what they were."""
SHOWN_LINES = 5


def failures(opened: Opened, cells: Iterable[CellSettings], states: dict[str, State]) -> dict[str, Failure]:
    """Why each failed cell failed, by identity.

    Args:
        opened: The study.
        cells: Its cells.
        states: Where each stands.
    """
    failed = [cell.identity for cell in cells if states[cell.identity] is State.FAILED]
    found = {identity: opened.store.cell(identity).failure() for identity in failed}
    return {identity: failure for identity, failure in found.items() if failure is not None}


def print_failures(found: dict[str, Failure], cells: Sequence[CellSettings], arguments: str, console: Console) -> None:
    """Prints failures by kind, each cell with what happened and the last lines of its log.

    Args:
        found: From :func:`failures`.
        cells: The study's cells, for their labels.
        arguments: What to type after a command to get this study.
        console: Where to.
    """
    labels = {cell.identity: cell.label for cell in cells if cell.identity in found}
    for kind, meaning in KINDS.items():
        own = {identity: failure for identity, failure in found.items() if failure.kind == kind}
        if not own:
            continue
        say(console, f"  failed, {kind}: {len(own)} ({meaning})")
        for identity, failure in own.items():
            times = f", {failure.attempts} times" if failure.attempts > 1 else ""
            say(console, f"    {identity} {labels[identity]}: {failure.message}{times}")
            for line in (failure.log or failure.traceback).splitlines()[-SHOWN_LINES:]:
                say(console, f"      | {line}")
        say(console, f"    again: gmixout study retry {arguments} --kind {kind}")


def retry(opened: Opened, kinds: Sequence[str], console: Console, url: str | None = None) -> int:
    """Lets cells that failed in these ways be tried by the next run; returns how many.

    Where machines have results folders of their own, each keeps what failed there: it takes such a cell again once it
    is told so, too. Any other machine takes it from the database's queue.

    Args:
        opened: The study.
        kinds: Kinds of failure, or ``DAMAGED``: finished cells with damaged files are then set aside, not deleted.
        console: Where to say what was done.
        url: The database that keeps the plan; its cells go back into the queue.

    Raises:
        ResultsError: If the database cannot be used.
    """
    plan = _plan(opened, url) if url is not None else None
    freed: list[str] = []
    for cell in opened.stored_cells:
        folder = opened.folder(cell)
        failure = None if folder.is_done else folder.failure()
        try:
            if failure is not None and failure.kind in kinds:
                with folder.lease():
                    (folder.path / FAILED).unlink(missing_ok=True)
            elif DAMAGED in kinds and (problem := folder.problem()):
                with folder.lease():
                    aside = _set_aside(opened.store, cell.identity)
                say(console, f"{problem}; what is left of it is now in {aside}")
            else:
                continue
        except Leased as busy:
            say(console, f"{cell.identity} {cell.label}: left alone, since {busy}")
            continue
        freed.append(cell.identity)
    say(console, f"{len(freed)} cells may be tried again: gmixout study run {opened.arguments}")
    if plan is not None:
        try:
            queued = plan.free(kinds)
        finally:
            plan.close()
        say(console, f"{len(queued)} cells are in the database's queue again")
        freed = list(dict.fromkeys([*freed, *queued]))
    return len(freed)


def _plan(opened: Opened, url: str) -> "Plan":
    # Imported only here: who looks at failures needs no Optuna.
    from studies.plan import Plan
    from studies.storage import open_storage

    storage = open_storage(url, opened.store.root)
    return Plan(opened.store.root, opened.study.name, opened.planned, {}, (), (), storage)


def _set_aside(store: Store, identity: str) -> Path:
    number = 1
    while (aside := store.root / DAMAGED / f"{identity}-{number}").exists():
        number += 1
    aside.parent.mkdir(exist_ok=True)
    store.cell(identity).path.rename(aside)
    return aside
