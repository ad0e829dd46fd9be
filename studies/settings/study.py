"""A study: one declarative file, and the cells it stands for."""

import itertools
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from studies.settings.cell import CellSettings
from studies.settings.levers import Levers, Sweep, canonical_levers, given
from studies.settings.points import POINTS, complete_levers
from studies.settings.training import Evaluation, LearningRate, Schedule

MethodName = Literal["zero_shot", "linear_probe", "full", "mixout", "random_mask", "gmixout"]
BackboneName = Literal["digits-vit", "digits-convnet", "digits-vit-tiny"]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(min_length=1)]


class MethodBlock(BaseModel):
    """One method with fixed levers, a grid over others, and the learning rates it is tried at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: MethodName = Field(description="Which method.")
    levers: Levers = Field(default=Levers(), description="Levers held fixed.")  # type: ignore[valid-type]
    sweep: Sweep = Field(default=Sweep(), description="Levers varied: every combination is a cell.")  # type: ignore[valid-type]
    learning_rates: Annotated[tuple[LearningRate, ...], Field(min_length=1)] | None = Field(
        default=None, description="Peak learning rates; null takes the training's."
    )
    wise: bool = Field(default=False, description="Whether the WiSE-FT curve is evaluated.")

    @model_validator(mode="after")
    def _is_possible(self) -> "MethodBlock":
        fixed, swept = given(self.levers), given(self.sweep)
        if self.name == "zero_shot" and (self.learning_rates or self.wise):
            raise ValueError("zero_shot trains nothing: remove learning_rates and wise")
        if both := [lever for lever in fixed if lever in swept]:
            raise ValueError(f"a lever is fixed or swept, never both; remove one of each: {', '.join(both)}")
        if self.name not in POINTS:
            if named := [*fixed, *swept]:
                raise ValueError(f"{self.name} has no levers, got {', '.join(named)}; remove them")
            return self
        for lever, values in swept.items():
            if len(set(values)) != len(values):
                raise ValueError(f"the values of sweep.{lever} must differ from each other, got {list(values)}")
        for levers in self.combinations():
            # Impossible combinations are known to the method alone; it says what is wrong with them.
            complete_levers(self.name, levers)
        return self

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Every combination of the swept levers, joined with the fixed ones."""
        swept = given(self.sweep)
        for values in itertools.product(*swept.values()):
            yield {**given(self.levers), **dict(zip(swept, values, strict=True))}


class Training(Schedule):
    """The training loop's settings, with the learning rates of every method that names none."""

    learning_rates: Annotated[tuple[LearningRate, ...], Field(min_length=1)] = Field(
        default=(1e-3,), description="Peak learning rates of methods that name none."
    )

    def schedule_settings(self) -> Schedule:
        """The part that a cell keeps."""
        return Schedule(**self.model_dump(exclude={"learning_rates"}))


class Execution(BaseModel):
    """How the work is done: never part of a cell's identity, since results do not depend on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint_every_s: float = Field(default=10.0, ge=0, description="Seconds between checkpoints; 0: every step.")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="Where cells run.")


class StudySettings(BaseModel):
    """One study, from one YAML file.

    Example:
        >>> study = StudySettings(name="tiny", benchmark="digits", methods=[{"name": "full"}], seeds=[0, 1])
        >>> [cell.seed for cell in study.cells(manifest="00")]
        [0, 1]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Name of the study and of its results folder: letters, digits, - and _.")
    benchmark: str = Field(description="Name of the benchmark.")
    backbones: Annotated[tuple[BackboneName, ...], Field(min_length=1)] = Field(
        default=("digits-vit",), description="Pretrained models."
    )
    pretrain_seeds: Seeds = Field(default=(0,), description="Pretraining seeds of each backbone.")
    seeds: Seeds = Field(description="Seeds of data order and masks: the blocks of the design.")
    training: Training = Field(default=Training(), description="How cells are trained.")
    evaluation: Evaluation = Field(default=Evaluation(), description="What is evaluated.")
    methods: Annotated[tuple[MethodBlock, ...], Field(min_length=1)] = Field(description="What is compared.")
    execution: Execution = Field(default=Execution(), description="How the work is done; changes no result.")

    @field_validator("name")
    @classmethod
    def _is_folder_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise ValueError("a study's name is made of letters, digits, - and _")
        return name

    @field_validator("benchmark")
    @classmethod
    def _is_benchmark(cls, name: str) -> str:
        from studies.benchmarks import BENCHMARKS

        if name not in BENCHMARKS:
            raise ValueError(f"unknown benchmark; allowed: {', '.join(BENCHMARKS)}")
        return name

    @field_validator("backbones", "pretrain_seeds", "seeds")
    @classmethod
    def _differ(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) != len(values):
            raise ValueError("the values must differ from each other")
        return values

    def cells(self, manifest: str) -> tuple[CellSettings, ...]:
        """Every cell once, blocked by seed: an unfinished study has complete blocks first.

        Args:
            manifest: The benchmark's manifest.

        Returns:
            Cells in running order; settings that are the same after canonicalisation appear once.
        """
        cells: dict[str, CellSettings] = {}
        for seed, pretrain_seed, backbone in itertools.product(self.seeds, self.pretrain_seeds, self.backbones):
            for block in self.methods:
                for cell in self._block_cells(block, manifest, seed, pretrain_seed, backbone):
                    cells.setdefault(cell.identity, cell)
        return tuple(cells.values())

    def _block_cells(
        self, block: MethodBlock, manifest: str, seed: int, pretrain_seed: int, backbone: str
    ) -> Iterator[CellSettings]:
        evaluation = self.evaluation if block.wise else self.evaluation.model_copy(update={"wise_alphas": ()})
        common: dict[str, Any] = {
            "benchmark": self.benchmark,
            "manifest": manifest,
            "backbone": backbone,
            "pretrain_seed": pretrain_seed,
            "method": block.name,
        }
        if block.name == "zero_shot":
            # No seed enters: one cell stands for every block.
            still = evaluation.model_copy(update={"members": 0})
            yield CellSettings(**common, seed=0, learning_rate=None, training=None, evaluation=still)
            return
        schedule = self.training.schedule_settings()
        for levers in block.combinations() if block.name in POINTS else [{}]:
            if block.name in POINTS:
                levers = complete_levers(block.name, levers)
                levers = canonical_levers(levers, schedule.steps, schedule.weight_decay)
            for learning_rate in block.learning_rates or self.training.learning_rates:
                yield CellSettings(
                    **common,
                    levers=levers,
                    seed=seed,
                    learning_rate=learning_rate,
                    training=schedule,
                    evaluation=evaluation,
                )
