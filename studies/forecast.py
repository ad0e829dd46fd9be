"""From a short calibration a study's demands: hours, memory and disk of every cell that is yet to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from studies.calibration import Calibration, calibrate
from studies.costs import seconds, work_of
from studies.disk import answer_bytes, cell_bytes
from studies.engine import PLAIN, Engine
from studies.needs import Need
from studies.settings import CellSettings
from studies.sizes import Sizes

PROCESS_BYTES = 900 * 10**6
"""What a worker takes before it has done anything: Python, torch and the libraries around them."""

GPU_BYTES = 600 * 10**6
"""What CUDA takes of a GPU's memory for itself, with the libraries' work space."""

SLACK = 1.1
"""Memory is given out in pieces, and pieces do not fit exactly."""


@dataclass(frozen=True)
class Forecast:
    """What cells take.

    Attributes:
        seconds: Seconds on one worker, by identity.
        workers: Number of workers.
        device: Where training was measured.
        device_bytes: Bytes on the device at the worst moment, by identity.
        host_bytes: Bytes of the machine's memory at the worst moment, by identity.
        disk_bytes: Bytes on the disk in the end, by identity.
        checkpoint_bytes: Bytes of a running cell's checkpoint, by identity.
        needs: What the methods need on the device, by the methods' names in tables and by backbone.
        too_large: Methods of which one step ran out of memory here, by name: what torch said.
    """

    seconds: Mapping[str, float]
    workers: int
    device: str
    device_bytes: Mapping[str, int]
    host_bytes: Mapping[str, int]
    disk_bytes: Mapping[str, int]
    checkpoint_bytes: Mapping[str, int]
    needs: Mapping[tuple[str, str], Need]
    too_large: Mapping[str, str]

    @property
    def wall_s(self) -> float:
        """Seconds of all of them on so many workers."""
        return sum(self.seconds.values()) / self.workers


def forecast(
    cells: Sequence[CellSettings],
    workers: int,
    sizes: Sizes,
    device: str = "cpu",
    engine: Engine = PLAIN,
    read_s: float = 0.0,
    runs_on: str | None = None,
) -> Forecast:
    """Calibrates every backbone on this machine, and adds up.

    Pretrained weights do not matter for any of it, so none are needed; the pretraining's own time is not counted.

    Args:
        cells: Cells that are yet to run.
        workers: Processes that share them, one thread each.
        sizes: The benchmark's.
        device: Where to measure.
        engine: How a training step is carried out.
        read_s: Seconds that reading an image takes; it goes on while the last batch is computed.
        runs_on: Where cells will run; by default where it is measured.
    """
    has_gpu = (runs_on or device) == "cuda"
    found: dict[str, Calibration] = {}
    for name in {cell.backbone for cell in cells}:
        own = [cell for cell in cells if cell.backbone == name]
        found[name] = calibrate(own, sizes.classes, device, engine, runs_on)
    taken: dict[str, float] = {}
    memory: dict[str, int] = {}
    host: dict[str, int] = {}
    disk: dict[str, int] = {}
    checkpoints: dict[str, int] = {}
    batch_sizes = {cell.listed_as: cell.training.batch_size for cell in cells if cell.training is not None}
    for cell in cells:
        here = found[cell.backbone]
        rates = here.rates.reading(read_s, batch_sizes)
        taken[cell.identity] = seconds(work_of(cell, sizes.images), cell.listed_as, rates)
        need = here.needs.get(cell.listed_as)
        # Nothing trains: the pretrained model, a copy, and the one it is interpolated to.
        most = need.most if need is not None else 4 * here.weights
        memory[cell.identity] = int(SLACK * most) + (GPU_BYTES if has_gpu else 0)
        # All answers wait in memory to be written, once more as the file's bytes.
        waiting = 2 * answer_bytes(cell, sizes) + len(cell.sources) * here.weights + sizes.held_bytes
        host[cell.identity] = PROCESS_BYTES + waiting + (2 * here.weights if has_gpu else memory[cell.identity])
        disk[cell.identity] = cell_bytes(cell, sizes, here.weights)
        checkpoints[cell.identity] = need.fixed if need is not None else 0
    needs = {(backbone, name): need for backbone, one in found.items() for name, need in one.needs.items()}
    too_large = {name: why for one in found.values() for name, why in one.too_large.items()}
    return Forecast(taken, workers, device, memory, host, disk, checkpoints, needs, too_large)
