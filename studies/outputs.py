"""What the models of one cell answered, before anything is counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Logits = Mapping[str, npt.NDArray[np.float16]]
Features = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Outputs:
    """What the models of one cell answered; logits of shape ``(examples, classes)`` by split.

    Attributes:
        labels: Labels by split.
        groups: Classes of each group (many, medium, few); empty where training is balanced.
        reported: The reported model's logits.
        metric: How the benchmark scores answers: ``accuracy``, or ``macro_f1``, which is then recorded, too.
        largest: What was taken off each row of the reported model's logits, by split; shape ``(examples,)``.
        members: Each member's logits, oldest first.
        features: What each member's head sees of the first images of a split, shape ``(examples, width)``; by split,
            empty where the model has no head of its own.
        member_steps: Optimiser steps at which each member was the run's; empty where they are other runs.
        fresh: Logits of sub-networks of masks drawn anew.
        wise: Logits of the WiSE-FT models by alpha.
        average: Logits of the model whose weights are the members' mean; empty unless the surface is asked for.
        surface: Rows of ``metrics`` about the surface between the models, without the cell.
        numbers: Numbers that belong to the weights, not to a split.
        robust: Robust accuracy of the reported model on the first images of ``id_test``, and how many; or None.
    """

    labels: Mapping[str, npt.NDArray[np.int64]]
    groups: Mapping[str, tuple[int, ...]]
    reported: Logits
    metric: str = "accuracy"
    largest: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    members: tuple[Logits, ...] = ()
    features: tuple[Features, ...] = ()
    member_steps: tuple[int, ...] = ()
    fresh: tuple[Logits, ...] = ()
    wise: Mapping[float, Logits] = field(default_factory=dict)
    average: Logits = field(default_factory=dict)
    surface: tuple[Mapping[str, Any], ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    robust: tuple[float, int] | None = None
