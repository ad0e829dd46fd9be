"""What is known of a benchmark without having it: where it is from, its licence, its size, what lies where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

TOGETHER = " + "
"""Between the names of splits in ``Facts.images`` whose images are known together only."""


@dataclass(frozen=True)
class Facts:
    """What its publishers say of a benchmark, and what this suite makes of it.

    Attributes:
        title: One line.
        home: The publisher's page; empty for what is made on the machine.
        licence: As the publisher states it.
        gigabytes: To download, roughly; 0 for what is made on the machine.
        folder: Name of its folder in the data folder; empty for what is made on the machine.
        layout: What lies in that folder (or beside it), each one phrase.
        classes: Number of classes.
        images: Splits to numbers of images. Splits joined by ``TOGETHER`` are counted together; a split of unknown
            size (``None``) is what its list says.
        metric: ``accuracy`` or ``macro_f1``.
        unused: Splits that can be loaded but never enter a result: why.
        corruptions: Kinds of corruption, each at five severities.
        subsets: Splits that ask for fewer classes, by a readout: how many.
        may_lack_classes: Whether training and ID validation need not have every class; nobody promises that they do.
        get: Addresses and commands that get it, each one phrase; empty for what is made on the machine.
        from_memory: What of all this was stated from memory and not read from a source, each one phrase.
    """

    title: str
    home: str
    licence: str
    gigabytes: float
    folder: str
    layout: tuple[str, ...]
    classes: int
    images: Mapping[str, int | None]
    metric: str = "accuracy"
    unused: Mapping[str, str] = field(default_factory=dict)
    corruptions: int = 0
    subsets: Mapping[str, int] = field(default_factory=dict)
    may_lack_classes: bool = False
    get: tuple[str, ...] = ()
    from_memory: tuple[str, ...] = ()

    @property
    def is_embedded(self) -> bool:
        """Whether the data is made on the machine."""
        return not self.folder

    @property
    def ood(self) -> tuple[str, ...]:
        """Names of the OOD domains, without their prefix."""
        names = [name for joined in self.images for name in joined.split(TOGETHER)]
        return tuple(name.removeprefix("ood/") for name in names if name.startswith("ood/"))


SELECTION = "id_val"
"""The only split that a choice of settings or checkpoints may look at, in every benchmark."""
