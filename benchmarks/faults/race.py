"""Processes that race for the same cells: of all that try at one moment, exactly one may win."""

import multiprocessing
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from studies.lease import Lease, Leased


def race(folder: Path, cells: int, processes: int) -> list[int]:
    """Lets every process try to lease every cell, all at once.

    Args:
        folder: Where the cells' folders are made.
        cells: How many cells are raced for, one after another.
        processes: How many race.

    Returns:
        How many won, for each cell.
    """
    context = multiprocessing.get_context("spawn")
    barrier, won = context.Barrier(processes), context.SimpleQueue()
    for number in range(cells):
        (folder / str(number)).mkdir()
    racers = [context.Process(target=_run, args=(folder, cells, barrier, won)) for _ in range(processes)]
    for racer in racers:
        racer.start()
    winners = [0] * cells
    for number in (found for racer in racers for found in won.get()):
        winners[number] += 1
    for racer in racers:
        racer.join()
    return winners


def _run(folder: Path, cells: int, barrier: Barrier, won: "SimpleQueue[list[int]]") -> None:
    mine = []
    for number in range(cells):
        barrier.wait(60)
        try:
            with Lease(folder / str(number)):
                mine.append(number)
                # Held until all have tried.
                barrier.wait(60)
        except Leased:
            barrier.wait(60)
    won.put(mine)
