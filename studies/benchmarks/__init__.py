"""The benchmarks by name, and what is known of each without having it. NumPy only: torch stops at the door."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from studies.benchmarks.benchmark import Benchmark, Split
from studies.benchmarks.cifar import Cifar100
from studies.benchmarks.cifar.known import CORRUPTED_FACTS, LONG_TAIL_FACTS
from studies.benchmarks.cifar.known import FACTS as CIFAR_FACTS
from studies.benchmarks.digits import Digits
from studies.benchmarks.digits.known import facts as digits_facts
from studies.benchmarks.domainnet import DomainNet, WildsDomainNet
from studies.benchmarks.domainnet.protocol import (
    DOMAINS,
    deduplicated_facts,
    official_facts,
    released_facts,
    sentry_facts,
)
from studies.benchmarks.facts import Facts
from studies.benchmarks.folder import Folder
from studies.benchmarks.imagenet import ImageNet, ImageNetLongTail
from studies.benchmarks.imagenet.longtail import FACTS as IMAGENET_LT_FACTS
from studies.benchmarks.imagenet.shifted import FACTS as IMAGENET_FACTS
from studies.benchmarks.images import FileImages, View
from studies.benchmarks.iwildcam import FACTS as IWILDCAM_FACTS
from studies.benchmarks.iwildcam import IWildCam
from studies.benchmarks.readout import Readout
from studies.benchmarks.roots import DataError, data_folder

__all__ = [
    "BENCHMARKS",
    "FACTS",
    "Benchmark",
    "DataError",
    "Facts",
    "FileImages",
    "Folder",
    "Readout",
    "Split",
    "View",
    "add_folder",
    "is_known",
    "load",
]

BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    "digits": Digits,
    "digits-longtail": partial(Digits, longtail=True),
    "iwildcam": IWildCam,
    "domainnet": DomainNet,
    "domainnet-clipart": partial(DomainNet, name="domainnet-clipart", source="clipart"),
    "domainnet-infograph": partial(DomainNet, name="domainnet-infograph", source="infograph"),
    "domainnet-painting": partial(DomainNet, name="domainnet-painting", source="painting"),
    "domainnet-quickdraw": partial(DomainNet, name="domainnet-quickdraw", source="quickdraw"),
    "domainnet-real": partial(DomainNet, name="domainnet-real", source="real"),
    "domainnet-six": partial(DomainNet, name="domainnet-six", domains=DOMAINS),
    "domainnet-deduplicated": partial(DomainNet, name="domainnet-deduplicated", is_deduplicated=True),
    "domainnet-sentry": partial(DomainNet, name="domainnet-sentry", is_sentry=True),
    "domainnet-sentry-clipart": partial(DomainNet, name="domainnet-sentry-clipart", source="clipart", is_sentry=True),
    "domainnet-sentry-painting": partial(
        DomainNet, name="domainnet-sentry-painting", source="painting", is_sentry=True
    ),
    "domainnet-sentry-real": partial(DomainNet, name="domainnet-sentry-real", source="real", is_sentry=True),
    "domainnet-wilds": WildsDomainNet,
    "domainnet-wilds-sentry": partial(WildsDomainNet, name="domainnet-wilds-sentry", is_sentry=True),
    "imagenet": ImageNet,
    "imagenet-lt": ImageNetLongTail,
    "imagenet-lt-oltr": partial(ImageNetLongTail, name="imagenet-lt-oltr", shots="oltr"),
    "cifar100": Cifar100,
    "cifar100c": partial(Cifar100, name="cifar100c", is_corrupted=True),
    "cifar100-lt": partial(Cifar100, name="cifar100-lt", imbalance=100.0),
}
"""Names to what makes the benchmark. All but the embedded ones take the data folder as ``data``."""

FACTS: dict[str, Facts] = {
    "digits": digits_facts(is_longtail=False),
    "digits-longtail": digits_facts(is_longtail=True),
    "iwildcam": IWILDCAM_FACTS,
    "domainnet": official_facts("sketch"),
    "domainnet-clipart": official_facts("clipart"),
    "domainnet-infograph": official_facts("infograph"),
    "domainnet-painting": official_facts("painting"),
    "domainnet-quickdraw": official_facts("quickdraw"),
    "domainnet-real": official_facts("real"),
    "domainnet-six": official_facts("sketch", DOMAINS),
    "domainnet-deduplicated": deduplicated_facts("sketch"),
    "domainnet-sentry": sentry_facts("sketch"),
    "domainnet-sentry-clipart": sentry_facts("clipart"),
    "domainnet-sentry-painting": sentry_facts("painting"),
    "domainnet-sentry-real": sentry_facts("real"),
    "domainnet-wilds": released_facts(is_sentry=False),
    "domainnet-wilds-sentry": released_facts(is_sentry=True),
    "imagenet": IMAGENET_FACTS,
    "imagenet-lt": IMAGENET_LT_FACTS,
    "imagenet-lt-oltr": IMAGENET_LT_FACTS,
    "cifar100": CIFAR_FACTS,
    "cifar100c": CORRUPTED_FACTS,
    "cifar100-lt": LONG_TAIL_FACTS,
}
"""Names to what is known without the data. A user's own :class:`Folder` is in neither table."""


_USERS: dict[str, dict[str, Any]] = {}


def add_folder(name: str, **arguments: Any) -> None:
    """Makes a user's own image folders known by a name in this process.

    Args:
        name: Not that of a benchmark of the suite.
        **arguments: Of :class:`Folder`.

    Raises:
        ValueError: If the name is taken.
    """
    if name in BENCHMARKS:
        raise ValueError(f"{name!r} is a benchmark of the suite; give your own folders another name")
    if _USERS.get(name) != arguments:
        _USERS[name] = arguments
        _users.cache_clear()


def is_known(name: str) -> bool:
    """Whether :func:`load` knows a name."""
    return name in BENCHMARKS or name in _USERS


@functools.cache
def _users(name: str) -> Benchmark:
    return Folder(name, **_USERS[name])


def load(name: str, data: Path | None = None, **options: Any) -> Benchmark:
    """Returns a benchmark by its name; one object per process, data folder and options, so that its splits are kept.

    Args:
        name: A name in ``BENCHMARKS``, or one that :func:`add_folder` has made known.
        data: The data folder; by default ``$GMIXOUT_DATA``. Embedded benchmarks need none.
        **options: Settings of the family, such as ``source`` or ``shifts``; values must be hashable.

    Raises:
        ValueError: If there is no such benchmark; the message lists the valid names.
        DataError: If its data is not there; the message says what is expected where, and where to get it.

    Example:
        >>> load("digits").classes[:3]
        ('0', '1', '2')
    """
    if name in _USERS:
        return _users(name)
    if name not in BENCHMARKS:
        raise ValueError(f"unknown benchmark {name!r}; choose one of {', '.join(sorted(BENCHMARKS))}")
    return _load(name, None if FACTS[name].is_embedded else data_folder(data), tuple(sorted(options.items())))


@functools.cache
def _load(name: str, data: Path | None, options: tuple[tuple[str, Any], ...]) -> Benchmark:
    given = dict(options)
    return BENCHMARKS[name](**given) if FACTS[name].is_embedded else BENCHMARKS[name](data=data, **given)
