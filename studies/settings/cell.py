"""One cell: everything that decides its result, its canonical form and the hash that is its identity."""

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cached_property, reduce
from types import NoneType
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from studies.settings.training import Evaluation, Schedule

SCHEMA_VERSION: Literal[2] = 2
"""Raised whenever the same settings would no longer give the same result, so that no old cell passes for a new one."""


_LATER: dict[str, Any] = {
    "prompts": "",
    "training.recipe.flip": 0.0,
    "training.layer_decay": 1.0,
    "training.batch_norm": "batch",
    "evaluation.surface": None,
    "training.precision": "float32",
}
"""Settings that came later, dotted where they are nested, and the value that all earlier cells had."""


class CellSettings(BaseModel):
    """The settings of one cell, complete and canonical: no paths, no host, nothing that does not change the result.

    Example:
        >>> cell = CellSettings(benchmark="digits", manifest="00", backbone="digits-vit", pretrain_seed=0,
        ...                     method="full", seed=1, learning_rate=1e-3)
        >>> len(cell.identity), cell.identity == cell.model_copy().identity
        (16, True)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[2] = SCHEMA_VERSION
    benchmark: str = Field(description="Name of the benchmark.")
    manifest: str = Field(description="Hash of the benchmark's images and labels.")
    backbone: str = Field(description="Name of the pretrained model.")
    pretrain_seed: int = Field(description="Seed of its pretraining.")
    prompts: str = Field(default="", description="Prompt set of the zero-shot head; empty without a text tower.")
    method: str = Field(description="Name of the fine-tuning method.")
    variant: str = Field(default="", description="What tells it from others of the same method in tables.")
    levers: dict[str, Any] = Field(default_factory=dict, description="The method's levers, canonical.")
    options: dict[str, Any] = Field(default_factory=dict, description="The method's other settings, complete.")
    seed: int = Field(description="Seed of data order and masks.")
    learning_rate: float | None = Field(description="Peak learning rate; None where nothing is trained.")
    training: Schedule | None = Field(default=Schedule(), description="How it is trained; None where nothing is.")
    evaluation: Evaluation = Field(default=Evaluation(), description="What is evaluated.")
    sources: tuple[str, ...] = Field(default=(), description="Identities of the cells that it is built from.")
    is_ingredient: bool = Field(default=False, description="Whether it is trained only for others to be built from.")
    code: str = Field(default="", description="SHA-256 of the file of a user's own method; empty for ours.")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values; what is derived from them is derived anew."""
        copied = super().model_copy(update=update, deep=deep)
        for name in ("canonical", "identity"):
            copied.__dict__.pop(name, None)
        return copied

    @cached_property
    def canonical(self) -> str:
        """The settings as JSON with sorted keys; infinity is the string ``"inf"``.

        A setting that came later is left out at the value that all earlier cells had, so that they keep their identity.
        """
        spelled = {name: _spelled(getattr(self, name)) for name in type(self).model_fields}
        for name, earlier in _LATER.items():
            *path, last = name.split(".")
            holder = reduce(lambda found, part: found.get(part) or {}, path, spelled)
            if last in holder and holder[last] == earlier:
                del holder[last]
        return _ENCODER.encode(spelled)

    @cached_property
    def identity(self) -> str:
        """The first 16 hex digits of the canonical form's SHA-256: the cell's name and its folder's."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:16]

    @classmethod
    def from_canonical(cls, text: str) -> "CellSettings":
        """The settings that :attr:`canonical` wrote.

        Raises:
            ValueError: If the text is not a cell of this schema.
        """
        stored = json.loads(text)
        if not isinstance(stored, dict):
            raise ValueError(f"a cell's settings are a JSON object, got {type(stored).__name__}")
        stored["levers"] = {
            name: math.inf if value == "inf" else value for name, value in stored.get("levers", {}).items()
        }
        return cls.model_validate(stored)

    @property
    def steps(self) -> int:
        """Optimiser steps of the run; 0 where nothing is trained."""
        return self.training.steps if self.training is not None else 0

    @property
    def listed_as(self) -> str:
        """The method's name in tables and figures: with its variant, and with what is added to plain training.

        Example:
            >>> cell = CellSettings(benchmark="digits", manifest="00", backbone="digits-vit", pretrain_seed=0,
            ...                     method="full", variant="long", seed=1, learning_rate=1e-3,
            ...                     training=Schedule(recipe={"augmentation": "randaugment", "mixup_alpha": 0.2}))
            >>> cell.listed_as
            'full/long+crop+randaugment+mixup'
        """
        name = f"{self.method}/{self.variant}" if self.variant else self.method
        return "+".join([name, *(self.training.additions if self.training is not None else ())])

    @property
    def label(self) -> str:
        """A short line for people: the method, the levers that act, learning rate and seed."""
        parts = [self.listed_as]
        shown = {"anchor": "", "resample_every": "k=", "sparsity": "p=", "granularity": ""}
        for lever, prefix in shown.items():
            value = self.levers.get(lever)
            if value is not None and not (lever == "granularity" and value == "element"):
                parts.append(f"{prefix}{value:g}" if isinstance(value, float) else f"{prefix}{value}")
        if self.learning_rate is not None:
            parts.append(f"lr={self.learning_rate:g}")
        if self.sources:
            parts.append(f"of {len(self.sources)} runs")
        return " ".join([*parts, f"seed={self.seed}"])


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_KNOWN: dict[int, tuple[BaseModel, dict[str, Any]]] = {}
_MOST_KNOWN = 256


def _spelled(value: Any) -> Any:
    if not isinstance(value, BaseModel):
        return _plain(value)
    # Thousands of cells share the very objects that say how they are trained and evaluated.
    known = _KNOWN.get(id(value))
    if known is None or known[0] is not value:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        known = _KNOWN[id(value)] = value, _plain(value.model_dump(mode="python"))
    return known[1]


def _plain(value: Any) -> Any:
    # Most are of these kinds, and a study's cells have a million of them.
    if type(value) in (str, int, bool, NoneType):
        return value
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value
