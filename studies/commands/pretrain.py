"""Pretraining before the workers start: once, in the parent, with progress."""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from studies.atomic import write_text
from studies.progress import PLAIN_EVERY_S, Clock, spoken
from studies.settings import CellSettings
from studies.store import ResultsError, Store

RECIPES = "backbones.json"


def pretrain(store: Store, cells: Sequence[CellSettings], console: Console) -> None:
    """Makes sure that every pretrained model the cells start from is in the cache.

    The results folder remembers the recipe of each model, so that cells of two recipes are never compared.

    Raises:
        ResultsError: If the folder holds results of another recipe.
    """
    from studies import backbones

    needed = sorted({(cell.backbone, cell.pretrain_seed) for cell in cells})
    for name, seed in needed:
        if backbones.is_cached(name, seed):
            continue
        is_made = isinstance(backbones.find(name), backbones.Backbone)
        title = f"{'pretraining' if is_made else 'fetching'} {name} with seed {seed} (once; kept in the cache)"
        if not console.is_terminal:
            console.print(title, highlight=False, soft_wrap=True)
            backbones.prepare(name, seed, progress=_lines(console))
            continue
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total} images"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            backbones.prepare(name, seed, progress=partial(_bar, progress, progress.add_task(title, total=None)))
    _remember(store, {f"{name}-{seed}": str(backbones.describe(name, seed)["key"]) for name, seed in needed})


def _bar(progress: Progress, task: TaskID, done: int, total: int) -> None:
    progress.update(task, completed=done, total=total)


def _lines(console: Console) -> Callable[[int, int], None]:
    said_at = [time.monotonic()]
    clock = Clock(1.0)

    def tell(done: int, total: int) -> None:
        left = clock.remaining_s(done / total)
        if time.monotonic() - said_at[0] >= PLAIN_EVERY_S:
            said_at[0] = time.monotonic()
            words = "" if left is None else f", {spoken(left)} left"
            console.print(f"  {done}/{total} images{words}", highlight=False)

    return tell


def _remember(store: Store, recipes: dict[str, str]) -> None:
    path = store.root / RECIPES
    try:
        known = json.loads(path.read_text()) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} cannot be read ({error}); restore it or choose another folder") from error
    for name, recipe in recipes.items():
        if known.get(name, recipe) != recipe:
            raise ResultsError(
                f"{store.root} holds results of {name} pretrained by another recipe; choose another folder with "
                f"--results, or remove it to start again"
            )
    if not recipes.items() <= known.items():
        write_text(path, json.dumps(known | recipes, indent=1, sort_keys=True) + "\n")
