"""The masked methods as points in the space of levers: which levers a study may still choose, and the rest."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

from gmixout.settings import Settings
from studies.settings.levers import LEVERS

_MOVING = ("ema_decay", "ema_update", "ema_bias_correction")

POINTS: dict[str, Callable[..., Settings]] = {
    "random_mask": Settings.random_mask,
    "sequential_masks": Settings.sequential_masks,
    "mixout": Settings.mixout,
    # As its public code has it: one row of the mask for all outputs, and a gradient without the forward's factor.
    "mixout_published": partial(Settings.mixout, gradient="published", granularity="column"),
    "hr_mixout": Settings.hr_mixout,
    "hr_mixout_filter": partial(Settings.hr_mixout, granularity="row"),
    "dropconnect": Settings.dropconnect,
    "gmixout": Settings,
}

_MIXOUT = ("anchor", *_MOVING, "resample_every", "residual", "rescale")

DEFINING: dict[str, tuple[str, ...]] = {
    "random_mask": ("anchor", *_MOVING, "resample_every", "residual"),
    "sequential_masks": ("anchor", *_MOVING, "residual"),
    "mixout": _MIXOUT,
    "mixout_published": (*_MIXOUT, "granularity", "gradient"),
    "hr_mixout": (*_MIXOUT, "granularity", "gradient"),
    "hr_mixout_filter": (*_MIXOUT, "granularity", "gradient"),
    "dropconnect": _MIXOUT,
    "gmixout": (),
}
"""Levers whose values make the method what it is; a study that changes them means ``gmixout``."""


def point_settings(name: str, levers: dict[str, Any], seed: int = 0) -> Settings:
    """The method's settings at one point.

    Args:
        name: A key of ``POINTS``.
        levers: Levers by name; None stands for the default, as in a cell's canonical levers.
        seed: Seed of the masks.

    Raises:
        ValueError: If a lever is not free in this method, or the levers contradict each other.

    Example:
        >>> point_settings("mixout", {"sparsity": 0.8}).resample_every
        1
    """
    given = {lever: value for lever, value in levers.items() if value is not None}
    return POINTS[name](**given, seed=seed)


def complete_levers(name: str, levers: dict[str, Any]) -> dict[str, Any]:
    """Every lever of a method, with those that the study does not name at their defaults.

    Args:
        name: A key of ``POINTS``.
        levers: What the study names.

    Raises:
        ValueError: If a lever defines the method, or the levers contradict each other.

    Example:
        >>> complete_levers("random_mask", {"sparsity": 0.8})["resample_every"]
        inf
    """
    if fixed := [lever for lever in levers if lever in DEFINING[name]]:
        free = [lever for lever in LEVERS if lever not in DEFINING[name]]
        raise ValueError(
            f"{', '.join(fixed)} cannot be set for {name}, since it makes {name} what it is; "
            f"allowed: {', '.join(free)}; for other values use gmixout"
        )
    complete = dataclasses.asdict(point_settings(name, levers))
    return {lever: complete[lever] for lever in LEVERS}
