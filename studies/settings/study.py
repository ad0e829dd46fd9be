"""A study: one declarative file, and the cells it stands for."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from studies.engine import Engine
from studies.reading import Reading, readers_for
from studies.settings.backbones import BackboneName, PromptSet, has_text
from studies.settings.block import MethodBlock
from studies.settings.cell import CellSettings
from studies.settings.cluster import Needs
from studies.settings.folders import FolderSettings, add_folders
from studies.settings.levers import canonical_levers
from studies.settings.plugins import load_plugins
from studies.settings.points import complete_levers
from studies.settings.pool import Pool
from studies.settings.search import RATE, Search
from studies.settings.training import Evaluation, LearningRate, Schedule

Seeds = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(min_length=1)]


class Training(Schedule):
    """The training loop's settings, with the learning rates of every method that names none."""

    learning_rates: Annotated[tuple[LearningRate, ...], Field(min_length=1)] = Field(
        default=(1e-3,), description="Peak learning rates of methods that name none."
    )

    def schedule_settings(self) -> Schedule:
        """The part that a cell keeps."""
        return Schedule(**self.model_dump(exclude={"learning_rates"}))


class Execution(Needs):
    """How the work is done: never part of a cell's identity, since results do not depend on it."""

    checkpoint_every_s: float = Field(default=10.0, ge=0, description="Seconds between checkpoints; 0: every step.")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="Where cells run.")
    readers: int | None = Field(
        default=None, ge=1, description="Threads that read images in each worker; null: its share of the cores."
    )
    prefetch: int = Field(default=2, ge=1, description="Batches that are read ahead of the one in use.")
    micro_batch: int | None = Field(
        default=None, ge=1, description="Images that go through the model at once in training; null: the whole batch."
    )
    retry_smaller: bool = Field(
        default=False,
        description="Whether a cell that ran out of memory is tried again with half as many images at once; the batch "
        "stays, roundings differ.",
    )
    activation_checkpointing: bool = Field(
        default=False, description="Whether training keeps the inputs of blocks only, and computes their inside twice."
    )
    channels_last: bool = Field(default=False, description="Whether convolutions run with channels innermost.")
    compile: bool = Field(default=False, description="Whether torch.compile compiles the training step.")
    augment_on: Literal["device", "host"] = Field(
        default="device",
        description="Where images are mirrored, augmented and mixed: on the device, or by the CPU while the last step "
        "computes. Crops of files are the readers' either way.",
    )
    processes: int = Field(
        default=1,
        ge=1,
        description="Processes that share every batch of a cell in training, each with the whole model; each its GPU.",
    )
    sharded: bool = Field(default=False, description="Whether processes split the model; not to be had in a study.")

    @field_validator("sharded")
    @classmethod
    def _is_not_sharded(cls, sharded: bool) -> bool:
        if sharded:
            raise ValueError(
                "a study trains whole models on every process (processes: N); fully_shard (FSDP2) is for loops of your "
                "own, see gmixout.sharded: element and column masks in plain storage on one mesh dimension, segments "
                "and rows that the processes divide, no members, and the state is gathered before merging"
            )
        return sharded

    @model_validator(mode="after")
    def _has_gpus(self) -> "Execution":
        if self.device == "cuda" and self.gpus is not None and self.gpus < self.processes:
            raise ValueError(
                f"gpus ({self.gpus}) must be at least processes ({self.processes}) where device is cuda; leave it out"
            )
        return self

    @property
    def gpus_needed(self) -> int:
        """GPUs that a cell needs of a cluster."""
        if self.gpus is not None:
            return self.gpus
        return self.processes if self.device == "cuda" else 0

    def on_cluster(self) -> "Execution":
        """The same where a cell has cores of its own: it reads with as many threads, unless told otherwise."""
        return self.model_copy(update={"readers": self.readers or max(1, self.cpus // self.processes)})

    def reading(self, workers: int) -> Reading:
        """How each of so many workers on one machine reads images."""
        return Reading(self.readers or readers_for(workers * self.processes), self.prefetch)

    def engine(self) -> Engine:
        """How a training step is carried out."""
        how = (self.micro_batch, self.activation_checkpointing, self.channels_last, self.compile)
        return Engine(*how, self.processes, self.augment_on)


class StudySettings(BaseModel):
    """One study, from one YAML file.

    Example:
        >>> study = StudySettings(name="tiny", benchmark="digits", methods=[{"name": "full"}], seeds=[0, 1])
        >>> [cell.seed for cell in study.cells(manifest="00")]
        [0, 1]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Name of the study and of its results folder: letters, digits, - and _.")
    plugins: tuple[Path, ...] = Field(
        default=(), description="Python files with methods of your own, relative to the study's file. They are run."
    )
    folders: dict[str, FolderSettings] = Field(default={}, description="Benchmarks of your own images, by name.")
    benchmark: str = Field(description="Name of the benchmark.")
    backbones: Annotated[tuple[BackboneName, ...], Field(min_length=1)] = Field(
        default=("digits-vit",), description="Pretrained models."
    )
    pretrain_seeds: Seeds = Field(default=(0,), description="Pretraining seeds of each backbone.")
    prompts: PromptSet = Field(
        default="plain",
        description="Prompts of the zero-shot head, where there is a text tower. domainnet is ours and names the OOD "
        "domains, so a study of their robustness leaks them: use plain.",
    )
    seeds: Seeds = Field(description="Seeds of data order and masks: the blocks of the design.")
    training: Training = Field(default=Training(), description="How cells are trained.")
    evaluation: Evaluation = Field(default=Evaluation(), description="What is evaluated.")
    pools: dict[str, Pool] = Field(default={}, description="Runs that soups and ensembles are built from, by name.")
    search: Search | None = Field(default=None, description="Settings of one method to search for; or null.")
    methods: tuple[MethodBlock, ...] = Field(
        default=(), validate_default=True, description="What is compared; with a search there may be none."
    )
    execution: Execution = Field(default=Execution(), description="How the work is done; changes no result.")

    @model_validator(mode="before")
    @classmethod
    def _load_plugins(cls, content: Any, info: ValidationInfo) -> Any:
        if not isinstance(content, dict) or not content.get("plugins"):
            return content
        named = content["plugins"]
        if not isinstance(named, list | tuple) or not all(isinstance(path, str | Path) for path in named):
            raise ValueError(f"plugins must be a list of Python files, got {named!r}")
        folder = (info.context or {}).get("folder", Path())
        paths = tuple((folder / path).resolve() for path in named)
        # Before anything else is checked: the methods' names and settings are theirs to say.
        load_plugins(paths)
        return content | {"plugins": paths}

    @model_validator(mode="after")
    def _has_work(self) -> "StudySettings":
        if self.search is not None:
            self._check_search(self.search)
        return self

    @model_validator(mode="after")
    def _is_possible(self) -> "StudySettings":
        for number, block in enumerate(self.methods):
            if block.pool is not None and block.pool not in self.pools:
                known = ", ".join(self.pools) or "none"
                raise ValueError(
                    f"methods.{number}.pool must be one of the study's pools ({known}), got {block.pool!r}"
                )
            schedule = self.schedule_of(block)
            if block.traits.needs_validation and schedule.validate_every is None:
                raise ValueError(f"{block.name} looks at ID validation while it trains: set training.validate_every")
            engine = self.execution.engine()
            if block.traits.couples_images and (engine.parts(schedule.batch_size) > 1 or engine.processes > 1):
                raise ValueError(
                    f"the loss of {block.name} compares the images of a batch with each other: execution.micro_batch "
                    f"must be at least its batch_size ({schedule.batch_size}) and execution.processes 1, "
                    f"got {engine.micro_batch} and {engine.processes}"
                )
            if block.traits.trains and schedule.batch_size < engine.processes:
                raise ValueError(
                    f"each process needs an image of every batch: execution.processes ({engine.processes}) must be at "
                    f"most the batch_size of {block.name}, got {schedule.batch_size}"
                )
        return self

    def _check_search(self, search: Search) -> None:
        for name in ("seeds", "backbones", "pretrain_seeds"):
            if len(getattr(self, name)) > 1:
                raise ValueError(
                    f"a search tries each setting once, so {name} has one value, got {len(getattr(self, name))}; "
                    "repeat what it finds in a study of its own"
                )
        if self.is_skipped(search.method, self.backbones[0]):
            raise ValueError(f"search.method: {search.method.name} needs a backbone with a text tower")
        if RATE not in search.space and not search.method.learning_rates and len(self.training.learning_rates) > 1:
            raise ValueError("a search has one learning rate, or learning_rate in its space")
        schedule = self.schedule_of(search.method)
        if search.method.traits.needs_validation and schedule.validate_every is None:
            raise ValueError(
                f"{search.method.name} looks at ID validation while it trains: set training.validate_every"
            )
        if search.pruner is not None and schedule.validate_every is None:
            raise ValueError("search.pruner looks at ID validation while runs train: set training.validate_every")
        if "id_val_diversity_score" in search.objectives and self.evaluation.members < 2:
            raise ValueError("search.objectives: diversity is that of members: set evaluation.members to at least 2")

    @field_validator("methods")
    @classmethod
    def _are_there(cls, methods: tuple[MethodBlock, ...], info: ValidationInfo) -> tuple[MethodBlock, ...]:
        # A search that is wrong has been told already.
        if not methods and info.data.get("search", ...) is None:
            raise ValueError("at least 1 method is needed, or a search")
        return methods

    @field_validator("name")
    @classmethod
    def _is_folder_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise ValueError("a study's name is made of letters, digits, - and _")
        return name

    @field_validator("folders")
    @classmethod
    def _start_at_the_file(cls, folders: dict[str, FolderSettings], info: ValidationInfo) -> dict[str, FolderSettings]:
        folder = (info.context or {}).get("folder", Path())
        found = {name: settings.inside(folder) for name, settings in folders.items()}
        add_folders(found)
        return found

    @field_validator("benchmark")
    @classmethod
    def _is_benchmark(cls, name: str, info: ValidationInfo) -> str:
        from studies.benchmarks import BENCHMARKS, is_known

        # Folders that are wrong have been told already, and may be what is named here.
        if "folders" in info.data and not is_known(name):
            raise ValueError(f"unknown benchmark; allowed: {', '.join(BENCHMARKS)}, or one of folders")
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
            Cells in running order; settings that are the same after canonicalisation appear once, with the WiSE-FT
            curve if any of the blocks that name them asks for it.
        """
        cells: dict[str, CellSettings] = {}
        levers = [self._levers(block) for block in self.methods]
        for seed, pretrain_seed, backbone in itertools.product(self.seeds, self.pretrain_seeds, self.backbones):
            common = self._common(manifest, backbone, pretrain_seed)
            for block, combined in zip(self.methods, levers, strict=True):
                if not self.is_skipped(block, backbone):
                    for cell in self._block_cells(block, common, seed, combined):
                        cells.setdefault(cell.identity, cell)
        # A frontier with its curve and a grid may cross in a setting: two cells of it would be one run counted twice.
        for cell in [cell for cell in cells.values() if cell.evaluation.wise_alphas]:
            cells.pop(_without_curve(cell).identity, None)
        return tuple(cells.values())

    def search_cell(self, manifest: str, values: dict[str, Any]) -> CellSettings:
        """The cell of a point in the search's space.

        Args:
            manifest: The benchmark's manifest.
            values: A value for every name of the space.

        Raises:
            ValueError: If the values contradict each other or what is fixed.
        """
        assert self.search is not None
        common = self._common(manifest, self.backbones[0], self.pretrain_seeds[0])
        block = self.search.block(values)
        (cell,) = self._block_cells(block, common, self.seeds[0], self._levers(block))
        return cell

    def is_searched(self, cell: CellSettings) -> bool:
        """Whether a cell is one that the search may propose."""
        if self.search is None or cell.method != self.search.method.name:
            return False
        try:
            return self.search_cell(cell.manifest, self.search.values(cell)).identity == cell.identity
        except ValueError:
            return False

    def _common(self, manifest: str, backbone: str, pretrain_seed: int) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark,
            "manifest": manifest,
            "backbone": backbone,
            "pretrain_seed": pretrain_seed,
            "prompts": self.prompts if has_text(backbone) else "",
        }

    def is_skipped(self, block: MethodBlock, backbone: str) -> bool:
        """Whether a method cannot be had with a backbone: it needs a text tower and there is none."""
        return block.traits.needs_text and not has_text(backbone)

    def skipped(self) -> list[str]:
        """What is left out, one line each, for people."""
        pairs = itertools.product(self.methods, self.backbones)
        return [
            f"{block.name} is left out for {backbone}: it needs a backbone with a text tower, such as CLIP's"
            for block, backbone in pairs
            if self.is_skipped(block, backbone)
        ]

    def schedule_of(self, block: MethodBlock) -> Schedule:
        """How a block's method is trained."""
        schedule: Schedule = block.training.over(self.training.schedule_settings())
        return schedule

    def _levers(self, block: MethodBlock) -> list[dict[str, Any]]:
        """The canonical levers of a block's settings; for a method without levers, none once."""
        if not block.traits.has_levers:
            return [{}]
        schedule = self.schedule_of(block)
        complete = (complete_levers(block.name, levers) for levers in block.combinations())
        return [canonical_levers(levers, schedule.steps, schedule.weight_decay) for levers in complete]

    def _block_cells(
        self, block: MethodBlock, common: dict[str, Any], seed: int, combined: list[dict[str, Any]]
    ) -> Iterator[CellSettings]:
        evaluation = self._evaluation(block)
        named: dict[str, Any] = {"method": block.name, "variant": block.variant, "code": block.traits.code}
        if block.pool is not None:
            ingredients = tuple(self._ingredients(self.pools[block.pool], common, seed))
            yield from ingredients
            for options in block.option_combinations():
                yield CellSettings(
                    **common,
                    **named,
                    options=options,
                    seed=seed,
                    learning_rate=None,
                    training=None,
                    evaluation=evaluation,
                    sources=tuple(cell.identity for cell in ingredients),
                )
            return
        if not block.traits.trains:
            # No seed enters: one cell stands for every block.
            still = evaluation.model_copy(update={"members": 0})
            yield CellSettings(**common, **named, seed=0, learning_rate=None, training=None, evaluation=still)
            return
        schedule = self.schedule_of(block)
        for levers, options in itertools.product(combined, block.option_combinations()):
            for learning_rate in block.learning_rates or self.training.learning_rates:
                yield CellSettings(
                    **common,
                    **named,
                    levers=levers,
                    options=options,
                    seed=seed,
                    learning_rate=learning_rate,
                    training=schedule,
                    evaluation=evaluation,
                )

    def _evaluation(self, block: MethodBlock) -> Evaluation:
        silent: dict[str, Any] = {}
        if not block.wise:
            silent["wise_alphas"] = ()
        if not block.traits.has_levers:
            silent["fresh_members"] = 0
        if not block.traits.has_weights:
            silent["attack"] = None
        if not block.traits.trains:
            silent["surface"] = None
        return self.evaluation.model_copy(update=silent)

    def _ingredients(self, pool: Pool, common: dict[str, Any], seed: int) -> Iterator[CellSettings]:
        evaluation = self.evaluation.model_copy(
            update={
                "members": 0,
                "fresh_members": 0,
                "wise_alphas": (),
                "attack": None,
                "surface": None,
                "keep_weights": True,
            }
        )
        runs = pool.runs(seed, self.training.schedule_settings(), self.training.learning_rates)
        for own_seed, learning_rate, schedule in runs:
            yield CellSettings(
                **common,
                method="full",
                seed=own_seed,
                learning_rate=learning_rate,
                training=schedule,
                evaluation=evaluation,
                is_ingredient=True,
            )


def _without_curve(cell: CellSettings) -> CellSettings:
    return cell.model_copy(update={"evaluation": cell.evaluation.model_copy(update={"wise_alphas": ()})})
