"""A user's own images in a study's file: class folders to train on, and others that are out of distribution."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(gt=0, lt=1)]


class FolderSettings(BaseModel):
    """Trees as torchvision's ``ImageFolder`` has them; see `studies.benchmarks.Folder`.

    Example:
        >>> FolderSettings(id_root="studio", ood_roots={"street": "street"}).id_val_fraction
        0.1
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id_root: Path = Field(
        description="Tree to train on, relative to the study's file: classes, or train/, val/, test/."
    )
    ood_roots: dict[Annotated[str, Field(pattern="^[A-Za-z0-9_-]+$")], Path] = Field(
        default={}, description="Trees of out-of-distribution domains, by name."
    )
    id_val_fraction: Fraction = Field(default=0.1, description="Part of each class for ID validation, without val/.")
    id_test_fraction: Fraction = Field(default=0.2, description="Part of each class for ID test, without test/.")
    seed: int = Field(default=0, ge=0, description="Seed of these cuts.")
    metric: Literal["accuracy", "macro_f1"] = Field(default="accuracy", description="How answers are scored.")

    @model_validator(mode="after")
    def _is_possible(self) -> "FolderSettings":
        if self.id_val_fraction + self.id_test_fraction >= 1:
            raise ValueError(
                "id_val_fraction and id_test_fraction must leave something to train on, "
                f"got {self.id_val_fraction} and {self.id_test_fraction}"
            )
        return self

    def inside(self, folder: Path) -> "FolderSettings":
        """The same with paths that start in a folder."""
        roots = {name: (folder / root).resolve() for name, root in self.ood_roots.items()}
        return self.model_copy(update={"id_root": (folder / self.id_root).resolve(), "ood_roots": roots})


def add_folders(folders: Mapping[str, FolderSettings]) -> None:
    """Makes the benchmarks known to `studies.benchmarks.load` in this process."""
    from studies.benchmarks import add_folder

    for name, settings in folders.items():
        add_folder(name, **settings.model_dump())
