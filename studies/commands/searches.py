"""What `gmixout study run`, `plan` and `status` say of a study's search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from studies.commands.saying import say
from studies.opened import Opened
from studies.settings import StudySettings

if TYPE_CHECKING:
    from studies.searching import Searching
    from studies.storage import Storage


def begin_search(opened: Opened, console: Console, storage: Storage | None = None) -> Searching | None:
    """Opens the study's search, if it has one, and tells what it begins from.

    Args:
        opened: The study.
        console: Where it is told.
        storage: A database that keeps the search's history; None: a journal in the results folder.
    """
    if opened.study.search is None:
        return None
    from studies.searching import Searching

    searching = Searching(opened.study, opened.search_sample.manifest, opened.store, opened.search_work, storage)
    for note in searching.notes:
        say(console, note)
    return searching


def oracle_warning(study: StudySettings) -> list[str]:
    """What must stand over everything that an oracle's search puts out."""
    if study.search is None or not study.search.oracle:
        return []
    sought = ", ".join(study.search.objectives)
    return [f"oracle: this search reads test splits ({sought}); what it finds is an upper bound, never a result"]


def search_words(study: StudySettings) -> list[str]:
    """The study's search in a line."""
    search = study.search
    if search is None:
        return []
    sampler = f"{search.sampler.name} (seed {search.sampler.seed})"
    pruning = f", {search.pruner.name} pruning" if search.pruner is not None else ""
    what = f"{search.trials} trials of {search.method.name} over {', '.join(search.space)}"
    return [f"search: {what} by {sampler}{pruning} for {', '.join(search.objectives)}"]


def tell_search(searching: Searching, console: Console) -> None:
    """Prints how many trials ended how, and the best of them."""
    counts = searching.counts()
    names = {"complete": "done", "pruned": "pruned", "fail": "failed", "running": "unfinished"}
    words = ", ".join(f"{counts[state]} {name}" for state, name in names.items() if counts[state])
    say(console, f"search: {sum(counts.values())} trials ({words or 'none begun'})")
    for found in searching.found():
        values = ", ".join(f"{name} {value:.6g}" for name, value in found.values.items())
        point = ", ".join(f"{name}={_short(value)}" for name, value in found.point.items())
        say(console, f"  best: {values} at {point}{found.cell and f' (cell {found.cell})'}")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
