"""What is done to a study, scenario by scenario; after each, every cell has to be as an undisturbed run leaves it."""

import itertools
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from benchmarks.faults.machine import ROOT, Machine, wait_for
from benchmarks.faults.postgres import Postgres
from benchmarks.faults.race import race
from benchmarks.faults.race_in_database import race_in_database
from benchmarks.faults.ray_cluster import ON_LOOPBACK, is_within, ray_head
from benchmarks.faults.standin import FINISHED, RESULT, undisturbed
from benchmarks.faults.study import study_cells, wrong
from studies.lease import holder
from studies.settings import CellSettings
from studies.store import Store

SMALL_DISK = 8 * 2**20


class NotHere(RuntimeError):
    """A scenario needs what this machine does not have."""


@dataclass
class Outcome:
    """What came of a scenario.

    Attributes:
        faults: How often something was broken.
        cells: How many cells there were.
        wrong: What was not as it should be, in words.
        seconds: What the scenario measures, where it does: the longest time that something took.
    """

    faults: int
    cells: int
    wrong: list[str] = field(default_factory=list)
    seconds: float | None = None


def killed_workers(folder: Path, kills: int = 50, cells: int = 24, steps: int = 40, seed: int = 0) -> Outcome:
    """SIGKILL of random workers, and now and then of the whole run, at random moments; the same command goes on."""
    rng = random.Random(seed)
    machine = Machine(folder / "results", "--cells", cells, "--steps", steps, "--step-s", 0.1)
    done = 0
    while done < kills:
        time.sleep(rng.uniform(0.0, 1.5))
        victims = machine.workers()
        if rng.random() < 0.1:
            victims = [machine.process.pid]
        if not machine.is_running:
            machine.start()
        elif victims:
            machine.kill(rng.choice(victims))
            done += 1
    return _outlived(machine, kills, study_cells(cells, steps, 0.1))


def terminated(folder: Path, times: int = 10, steps: int = 60) -> Outcome:
    """SIGTERM to every process of a run at once: it saves, releases and ends; the longest time that this took."""
    machine = Machine(folder / "results", "--cells", 2, "--steps", steps, "--step-s", 0.2, "--checkpoint-every-s", 1e9)
    longest, found, done = 0.0, [], 0
    while done < times:
        wait_for(lambda: list(_leases(folder / "results")) or not machine.is_running)
        if not machine.is_running:
            break
        machine.workers()
        began = time.monotonic()
        os.killpg(machine.process.pid, signal.SIGTERM)
        machine.end()
        longest, done = max(longest, time.monotonic() - began), done + 1
        if left := list(_leases(folder / "results")):
            found.append(f"{len(left)} leases were left")
        machine.start()
    outcome = _outlived(machine, done, study_cells(2, steps, 0.2))
    return Outcome(done, 2, [*found, *outcome.wrong], longest)


def raced(folder: Path, tries: int = 1000, processes: int = 4) -> Outcome:
    """Processes that race for the lease of a cell: exactly one may win each."""
    claims = race(folder, tries, processes)
    return Outcome(
        tries, tries, [f"cell {number} was won {won} times" for number, won in enumerate(claims) if won != 1]
    )


def raced_in_database(server: Postgres, tries: int = 1000, processes: int = 4) -> Outcome:
    """Machines that race for the cells of a plan in a database: each is queued once and claimed once."""
    claims, trials = race_in_database(server.url, tries, processes)
    found = [f"cell {number} was claimed {times} times" for number, times in enumerate(claims) if times != 1]
    return Outcome(tries, tries, found + ([f"{trials} trials"] if trials != tries else []))


def killed_machines(folder: Path, server: Postgres, kills: int = 10, cells: int = 16, seed: int = 0) -> Outcome:
    """SIGKILL of workers and whole machines that share a database and nothing else."""
    rng = random.Random(seed)
    machines = _machines(folder, server, cells, 30)
    for _ in range(kills):
        time.sleep(rng.uniform(0.5, 3.0))
        machine = rng.choice(machines)
        if not machine.is_running:
            machine.start()
            wait_for(lambda machine=machine: machine.workers() or not machine.is_running)
        victims = [*machine.workers(), machine.process.pid]
        machine.kill(rng.choice(victims))
    return _met(machines, kills, study_cells(cells, 30, 0.1))


def restarted_database(folder: Path, server: Postgres, times: int = 2, cells: int = 12) -> Outcome:
    """The database crashes and starts again in the middle."""
    machines = _machines(folder, server, cells, 30)
    for number in range(times):
        wait_for(lambda number=number: _finished(machines) > number)
        server.stop("immediate")
        server.start()
    return _met(machines, times, study_cells(cells, 30, 0.1))


def unreachable_database(folder: Path, server: Postgres, away_s: float = 60.0, cells: int = 12) -> Outcome:
    """The database is away for a minute."""
    machines = _machines(folder, server, cells, 30)
    wait_for(lambda: _finished(machines) > 0)
    server.stop("immediate")
    time.sleep(away_s)
    server.start()
    return _met(machines, 1, study_cells(cells, 30, 0.1))


def full_disk(folder: Path, cells: int = 6) -> Outcome:
    """The disk runs full in the middle; after room is made the same command goes on."""
    with _small_disk(folder / "disk") as disk:
        machine = Machine(disk / "results", "--cells", cells, "--steps", 30, "--step-s", 0.1)
        wait_for(lambda: list(_leases(disk / "results")))
        ballast = disk / "ballast"
        with open(ballast, "wb", buffering=0) as file, suppress(OSError):
            file.writelines(itertools.repeat(bytes(2**12)))
        code = machine.end()
        ballast.unlink()
        outcome = _outlived(machine, 1, study_cells(cells, 30, 0.1), is_over=True)
    return Outcome(1, cells, ([] if code else ["a full disk was no error"]) + outcome.wrong)


def read_only_disk(folder: Path, cells: int = 6) -> Outcome:
    """The results folder becomes read-only in the middle; after that is mended the same command goes on."""
    with _small_disk(folder / "disk") as disk:
        machine = Machine(disk / "results", "--cells", cells, "--steps", 30, "--step-s", 0.1)
        wait_for(lambda: list(_leases(disk / "results")))
        # Another mount in its place: the file system itself stays writable while logs are open for writing.
        for arguments in (("--bind", str(disk), str(disk)), ("-o", "remount,bind,ro", str(disk))):
            if not _mount(*arguments):
                raise NotHere("no right to make a folder read-only here")
        code = machine.end()
        subprocess.run(["umount", "-l", str(disk)], check=True)
        outcome = _outlived(machine, 1, study_cells(cells, 30, 0.1), is_over=True)
    return Outcome(1, cells, ([] if code else ["a read-only disk was no error"]) + outcome.wrong)


def jumping_clock(folder: Path, jumps: int = 6, cells: int = 8) -> Outcome:
    """Two runs share a folder; the clock of one jumps by a day, forth and back."""
    clock = folder / "clock"
    clock.write_text("0")
    environment = {
        "PYTHONPATH": f"{Path(__file__).parent / 'clock'}{os.pathsep}{ROOT}",
        "GMIXOUT_FAULTY_CLOCK": str(clock),
    }
    shared = ("--cells", cells, "--steps", 40, "--step-s", 0.1, "--workers", 1)
    results = folder / "results"
    machines = [Machine(results, *shared), Machine(results, *shared, environment=environment)]
    for number in range(jumps):
        time.sleep(1.0)
        replacement = clock.with_suffix(".new")
        replacement.write_text("86400" if number % 2 == 0 else "-86400")
        replacement.replace(clock)
    codes = [machine.end() for machine in machines]
    found = wrong(results, study_cells(cells, 40, 0.1)) + [f"exit code {code}" for code in codes if code]
    found += [f"process {pid} was left" for machine in machines for pid in machine.orphans()]
    return Outcome(jumps, cells, found)


def killed_ray_nodes(folder: Path, kills: int = 3, cells: int = 8) -> Outcome:
    """SIGKILL of a Ray cluster's node while it works; another one comes, as an autoscaler would have it."""
    if find_spec("ray") is None:
        raise NotHere("Ray is not installed")
    host = "127.0.0.1"
    arguments = ("--cells", cells, "--steps", 40, "--step-s", 0.2, "--engine", "ray", "--workers", cells)
    with ray_head(host) as cluster:
        results, done = folder / "results", 0
        machine = Machine(results, *arguments, "--address", cluster.address, environment=ON_LOOPBACK)
        while done < kills and machine.is_running:
            node = cluster.add_node(node_ip_address=host, num_cpus=1)
            raylet = node.all_processes["raylet"][0].process.pid
            wait_for(lambda raylet=raylet: _works(results, raylet) or not machine.is_running)
            time.sleep(0.5)
            cluster.remove_node(node, allow_graceful=False)
            done += 1
        return _outlived(machine, done, study_cells(cells, 40, 0.2))


def _works(root: Path, ancestor: int) -> bool:
    """Whether a process below this one has a cell."""
    claims = [holder(lease.parent) for lease in _leases(root)]
    return any(claim and is_within(int(str(claim.get("pid", 0))), ancestor) for claim in claims)


def torn_files(folder: Path, cells: int = 4) -> Outcome:
    """A killed run's files are torn where no marker says that the cell is done; the same command goes on."""
    results = folder / "results"
    machine = Machine(results, "--cells", cells, "--steps", 30, "--step-s", 0.1)
    wait_for(lambda: (results / FINISHED).exists() and list(_leases(results)))
    machine.kill(machine.process.pid)
    machine.orphans()
    torn = 0
    for cell in study_cells(cells, 30, 0.1):
        own = Store(results).cell(cell.identity)
        if own.path.exists() and not own.is_done:
            (own.path / RESULT).write_text(undisturbed(cell)[:7])
            (own.path / ".writing-DONE-1234").write_text("{")
            (own.path / "lease").write_text('{"owner": ')
            torn += 3
    return _outlived(machine, torn, study_cells(cells, 30, 0.1), is_over=True)


def _outlived(machine: Machine, faults: int, cells: Sequence[CellSettings], is_over: bool = False) -> Outcome:
    """Lets the same command run until it says that all is well, and looks at what there is then."""
    code: int | None = None if not is_over else 1
    for _ in range(5):
        if not machine.is_running and code != 0:
            machine.start()
        code = machine.end()
        if code == 0:
            break
    found = wrong(machine.folder, cells) + ([f"exit code {code}"] if code else [])
    return Outcome(faults, len(cells), found + [f"process {pid} was left" for pid in machine.orphans()])


def _machines(folder: Path, server: Postgres, cells: int, steps: int) -> list[Machine]:
    environment = {"GMIXOUT_STORAGE": server.url}
    arguments = ("--cells", cells, "--steps", steps, "--step-s", 0.1, "--workers", 1)
    return [Machine(folder / name, *arguments, environment=environment) for name in ("one", "two")]


def _finished(machines: Sequence[Machine]) -> int:
    logs = [machine.folder / FINISHED for machine in machines]
    return sum(len(log.read_text().split()) for log in logs if log.exists())


def _met(machines: Sequence[Machine], faults: int, cells: Sequence[CellSettings]) -> Outcome:
    """Machines with a folder each: every cell is done in exactly one of them."""
    codes = [1] * len(machines)
    for _ in range(5):
        for number, machine in enumerate(machines):
            if not machine.is_running and codes[number]:
                machine.start()
        codes = [machine.end() for machine in machines]
        if not any(codes):
            break
    found = [f"exit code {code}" for code in codes if code]
    places: Counter[str] = Counter()
    for machine in machines:
        own = [cell for cell in cells if Store(machine.folder).cell(cell.identity).is_done]
        places.update(cell.label for cell in own)
        found += wrong(machine.folder, own)
        found += [f"process {pid} was left" for pid in machine.orphans()]
    found += [f"{cell.label} is done in {places[cell.label]} folders" for cell in cells if places[cell.label] != 1]
    return Outcome(faults, len(cells), found)


def _leases(root: Path) -> Iterator[Path]:
    return (root / "cells").glob("*/lease")


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    if not _mount("-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(folder)):
        raise NotHere("no right to mount a small file system here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(*arguments: str) -> bool:
    if shutil.which("mount") is None:
        return False
    return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0
