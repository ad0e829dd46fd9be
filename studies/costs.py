"""How long a cell takes: its steps, episodes and images, and the rates that turn them into seconds."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from studies.benchmarks.benchmark import Benchmark
from studies.paths import paths
from studies.settings import CellSettings, traits_of


@dataclass(frozen=True)
class Work:
    """What a cell has to do.

    Attributes:
        steps: Optimiser steps.
        episodes: Masks drawn after the first.
        images: Images evaluated after training.
        validations: Images evaluated while training.
        passes: Passes forward and back through the model that a step takes: more than one under attack.
    """

    steps: int
    episodes: int
    images: int
    validations: int
    passes: int = 1


@dataclass(frozen=True)
class Rates:
    """Seconds a unit of work takes; the defaults are one core of a small machine, until something was measured.

    Attributes:
        step_s: Seconds an optimiser step, by method as tables name it.
        episode_s: Seconds a new mask takes, likewise.
        image_s: Seconds to evaluate an image.
        cell_s: Seconds a cell takes besides: files and metrics.
    """

    step_s: Mapping[str, float] = field(default_factory=dict)
    episode_s: Mapping[str, float] = field(default_factory=dict)
    image_s: float = 1 / 5750
    cell_s: float = 0.5

    def reading(self, read_s: float, batch_sizes: Mapping[str, int]) -> "Rates":
        """The same where images must be read, which goes on beside computing: the slower of the two counts.

        Args:
            read_s: Seconds that reading an image takes.
            batch_sizes: Images a step, by method.

        Example:
            >>> Rates({"full": 0.5}).reading(0.01, {"full": 128}).step_s
            {'full': 1.28}
        """
        steps = {name: max(step_s, read_s * batch_sizes[name]) for name, step_s in self.step_s.items()}
        return dataclasses.replace(self, step_s=steps, image_s=max(self.image_s, read_s))


def split_names(benchmark: Benchmark) -> list[str]:
    """Every split of a benchmark."""
    return ["train", "id_val", "id_test", *benchmark.ood_splits, *benchmark.corruption_splits]


def plain_splits(names: Iterable[str]) -> list[str]:
    """The splits on which every model of a cell is evaluated; corruptions are for the reported model alone."""
    return [name for name in names if name != "train" and not name.startswith("corruption/")]


def split_sizes(benchmark: Benchmark) -> dict[str, int]:
    """Number of images of every split."""
    return {name: len(benchmark.load(name).labels) for name in split_names(benchmark)}


def work_of(cell: CellSettings, sizes: Mapping[str, int]) -> Work:
    """What a cell has to do on a benchmark with these sizes.

    Args:
        cell: The settings.
        sizes: Number of images by split, from :func:`split_sizes`.
    """
    plain = sum(sizes[name] for name in plain_splits(sizes))
    corrupted = sum(size for name, size in sizes.items() if name.startswith("corruption/"))
    evaluation = cell.evaluation
    models = 1 + evaluation.members + evaluation.fresh_members + len(evaluation.wise_alphas)
    images = plain * models + (corrupted if evaluation.corruptions else 0)
    if evaluation.attack is not None:
        # A step of the attack is a forward and a backward pass: about three images' worth.
        attacked = min(evaluation.attack.examples, sizes["id_test"])
        images += 3 * attacked * evaluation.attack.steps * evaluation.attack.restarts * len(evaluation.attack.losses)
    if evaluation.surface is not None:
        images += _surface_images(cell, sizes, plain)
    if cell.sources:
        # Soups are chosen on ID validation; an ensemble's answers are its runs' own.
        has_weights = traits_of(cell.method).has_weights
        return Work(0, 0, images if has_weights else 0, sizes["id_val"] * len(cell.sources) if has_weights else 0)
    every = cell.training.validate_every if cell.training is not None else None
    validations = sizes["id_val"] * math.ceil(cell.steps / every) if every else 0
    period = cell.levers.get("resample_every") or math.inf
    recipe = cell.training.recipe if cell.training is not None else None
    passes = 1 + recipe.adversarial_steps if recipe is not None and recipe.adversarial_epsilon > 0 else 1
    return Work(cell.steps, 0 if math.isinf(period) else int(cell.steps / period), images, validations, passes)


def _surface_images(cell: CellSettings, sizes: Mapping[str, int], plain: int) -> int:
    surface, members = cell.evaluation.surface, cell.evaluation.members
    assert surface is not None
    has_anchor = traits_of(cell.method).has_levers
    seen = [size for name, size in sizes.items() if name == "id_test" or name.startswith("ood/")]
    inner = len(paths(members, has_anchor)) * len(surface.inner_alphas)
    ends = members + 2 + has_anchor
    return (inner + ends) * sum(min(size, surface.examples) for size in seen) + (plain if members else 0)


def seconds(work: Work, listed_as: str, rates: Rates = Rates()) -> float:
    """Seconds that a cell's work takes on one core.

    Args:
        work: From :func:`work_of`.
        listed_as: The cell's method as tables name it.
        rates: Seconds a unit of work.
    """
    training = work.steps * rates.step_s.get(listed_as, 0.014 * work.passes) + work.episodes * rates.episode_s.get(
        listed_as, 0.005
    )
    return training + (work.images + work.validations) * rates.image_s + rates.cell_s
