"""What a study's ``execution`` says of clusters: what a cell needs, and how Ray and SLURM are asked for it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class RaySettings(BaseModel):
    """How cells are handed to Ray."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    submitted: int = Field(
        default=64,
        ge=1,
        le=5000,
        description="Cells that are with Ray at once, running or waiting: what an autoscaler sees as demand.",
    )


class SlurmSettings(BaseModel):
    """How SLURM is asked for workers: an array of jobs, each of which runs cells until none is left.

    Example:
        >>> SlurmSettings(time_limit_min=10, margin_s=600)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        pydantic_core._pydantic_core.ValidationError: 1 validation error for SlurmSettings
          Value error, margin_s (600) must leave some of the time limit (600 s) to work in
        ...
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cluster: Literal["slurm", "local"] = Field(
        default="slurm", description="slurm, or local: jobs are processes of this machine, for trying things out."
    )
    jobs: int = Field(default=8, ge=1, description="Jobs of the array, a worker each.")
    at_once: int | None = Field(default=None, ge=1, description="Most jobs of the array that run at once; null: all.")
    time_limit_min: float = Field(default=240, gt=0, description="Time limit of a job in minutes.")
    margin_s: int = Field(
        default=120,
        ge=1,
        description="Seconds before the time limit at which a job is queued again; half of them are to save its cell.",
    )
    requeues: int = Field(
        default=100,
        ge=0,
        description="How often a job may reach its time limit; with cluster: local it starts six times at most.",
    )
    partition: str | None = Field(default=None, description="SLURM's partition.")
    account: str | None = Field(default=None, description="SLURM's account.")
    extra: dict[str, Any] = Field(default={}, description="Further options of sbatch, by their long names.")

    @model_validator(mode="after")
    def _has_time(self) -> "SlurmSettings":
        if self.margin_s >= self.time_limit_min * 60:
            raise ValueError(
                f"margin_s ({self.margin_s}) must leave some of the time limit ({self.time_limit_min * 60:g} s) "
                "to work in"
            )
        return self


class Needs(BaseModel):
    """What a cell needs of a cluster's machine; on one machine without a cluster nobody asks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpus: int = Field(default=1, ge=1, description="Cores of each cell, for Ray and SLURM.")
    gpus: int | None = Field(
        default=None,
        ge=0,
        description="GPUs of each cell, for Ray and SLURM; null: on cuda one a process.",
    )
    memory_gb: float | None = Field(
        default=None, gt=0, description="Main memory of each cell in GB, for Ray and SLURM; null: nothing is asked for."
    )
    ray: RaySettings = Field(default=RaySettings(), description="How cells are handed to Ray.")
    slurm: SlurmSettings = Field(default=SlurmSettings(), description="How SLURM is asked for workers.")
