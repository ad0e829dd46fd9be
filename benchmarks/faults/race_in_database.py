"""Machines that race for the cells of one plan in a database: each cell is queued once, and claimed once."""

import multiprocessing
import tempfile
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks.faults.standin import standin
from studies.plan import Plan
from studies.storage import open_storage


def race_in_database(url: str, cells: int, processes: int) -> tuple[list[int], int]:
    """Lets processes open the plan of a study in a fresh database at one moment, and take cells until none is left.

    Args:
        url: The database.
        cells: How many cells the study has.
        processes: How many race.

    Returns:
        How often each cell was claimed, and how many trials there are in the end.
    """
    context = multiprocessing.get_context("spawn")
    barrier, won = context.Barrier(processes), context.SimpleQueue()
    racers = [context.Process(target=_claim, args=(url, cells, barrier, won, number)) for number in range(processes)]
    for racer in racers:
        racer.start()
    found = [won.get() for _ in racers]
    for racer in racers:
        racer.join()
    claimed = [number for _, numbers in found for number in numbers]
    return [claimed.count(number) for number in range(cells)], max(trials for trials, _ in found)


def _claim(url: str, cells: int, barrier: Barrier, won: "SimpleQueue[tuple[int, list[int]]]", number: int) -> None:
    standins = [standin(seed) for seed in range(cells)]
    places = {cell.identity: place for place, cell in enumerate(standins)}
    with tempfile.TemporaryDirectory() as folder:
        barrier.wait(120)
        plan = Plan(Path(folder), "race", standins, {}, places, (), open_storage(url, Path(folder)), str(number))
        mine = []
        while (identity := plan.next()) is not None:
            mine.append(places[identity])
        barrier.wait(120)
        won.put((len(plan._study.get_trials(deepcopy=False)), mine))
        plan.close()
