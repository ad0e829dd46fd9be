"""The learning rate at every step: the parts of a run one after another, each with warm-up and decay of its own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from studies.methods.method import Phase
from studies.settings.training import Schedule


@dataclass(frozen=True)
class Span:
    """A phase with its place in the run.

    Attributes:
        number: Of the phase, from 0.
        start: Steps before its first.
        end: Steps once it is over.
        schedule: The shape of its learning rate.
        learning_rate: Its peak.
    """

    number: int
    start: int
    end: int
    schedule: Schedule
    learning_rate: float

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted over the whole run from 0."""
        return self.learning_rate * schedule_factor(step - self.start, self.schedule)


def spans(phases: Sequence[Phase], schedule: Schedule) -> list[Span]:
    """The phases in their places; the warm-up is shared out in proportion to their steps.

    Raises:
        ValueError: If the phases do not take as many steps as the schedule has.

    Example:
        >>> found = spans([Phase(4, 1e-2), Phase(6, 1e-3)], Schedule(steps=10, warmup_steps=5))
        >>> [(span.start, span.end, span.schedule.warmup_steps) for span in found]
        [(0, 4, 2), (4, 10, 3)]
    """
    if sum(phase.steps for phase in phases) != schedule.steps:
        raise ValueError(f"phases must take {schedule.steps} steps in all, got {[phase.steps for phase in phases]}")
    found, start = [], 0
    for number, phase in enumerate(phases):
        warmup = min(round(schedule.warmup_steps * phase.steps / schedule.steps), phase.steps - 1)
        own = schedule.model_copy(update={"steps": phase.steps, "warmup_steps": warmup})
        found.append(Span(number, start, start + phase.steps, own, phase.learning_rate))
        start += phase.steps
    return found


def schedule_factor(step: int, schedule: Schedule) -> float:
    """The learning rate at a step as a fraction of its peak: linear warm-up, then cosine to 0 or constant.

    Args:
        step: Steps already taken, from 0.
        schedule: Gives ``steps``, ``warmup_steps`` and the shape.

    Example:
        >>> schedule = Schedule(steps=10, warmup_steps=2)
        >>> [round(schedule_factor(step, schedule), 2) for step in (0, 1, 2, 6)]
        [0.5, 1.0, 1.0, 0.5]
    """
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    if schedule.schedule == "constant":
        return 1.0
    done = (step - schedule.warmup_steps) / (schedule.steps - schedule.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * done))
