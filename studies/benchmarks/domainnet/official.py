"""DomainNet by its publisher's lists, and the SENTRY subset by its own."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from studies.benchmarks.cut import cut
from studies.benchmarks.domainnet.protocol import (
    DOMAINS,
    ID_VALIDATION,
    SEED,
    SENTRY_DOMAINS,
    deduplicated_facts,
    official_facts,
    sentry_facts,
    targets,
)
from studies.benchmarks.facts import Facts
from studies.benchmarks.files import FileBenchmark
from studies.benchmarks.listing import Listing, read_list
from studies.benchmarks.roots import DataError, require

DUPLICATES = "domain_net_duplicates.txt"


class DomainNet(FileBenchmark):
    """DomainNet, trained on one domain.

    ``train`` and ``id_val`` are cut from the source's training list, ``id_test`` is its test list, ``ood/<domain>`` the
    test list of another domain. Classes are named by the folders that the lists name.

    Args:
        data: The data folder; by default ``$GMIXOUT_DATA``.
        name: The benchmark's name.
        source: The domain that is trained on.
        is_sentry: Whether to use the 40-class SENTRY lists instead of the 345-class ones.
        is_deduplicated: Whether to leave out the files that DomainBed lists as duplicates; its list must be there.
        domains: The source and the OOD domains.
        facts: What is known of it; by default what its publishers say.

    Raises:
        DataError: If its folder is not there.
        ValueError: If a domain is unknown, or not in the lists asked for.
    """

    def __init__(
        self,
        data: Path | None = None,
        name: str = "domainnet",
        source: str = "sketch",
        is_sentry: bool = False,
        is_deduplicated: bool = False,
        domains: Sequence[str] = SENTRY_DOMAINS,
        facts: Facts | None = None,
    ) -> None:
        allowed = SENTRY_DOMAINS if is_sentry else DOMAINS
        if unknown := [domain for domain in (source, *domains) if domain not in allowed]:
            raise ValueError(f"unknown domain {unknown[0]!r} of {name}; choose one of {', '.join(allowed)}")
        if facts is None and is_sentry:
            facts = sentry_facts(source)
        elif facts is None:
            facts = deduplicated_facts(source) if is_deduplicated else official_facts(source, tuple(domains))
        folder = require(name, facts, data) / facts.folder
        super().__init__(name, facts, folder, f"{source} {is_sentry} {is_deduplicated} {','.join(domains)}")
        self.source, self.is_sentry, self.is_deduplicated = source, is_sentry, is_deduplicated
        self._lists: dict[tuple[str, str], Listing] = {}
        self.ood_splits = tuple(f"ood/{domain}" for domain in targets(source, tuple(domains)))

    @functools.cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes' folders, as the lists have them.

        Raises:
            DataError: If two lists, or two lines, give a label two names, or no line gives it one.
        """
        names: dict[int, str] = {}
        domains = [self.source, *(split.removeprefix("ood/") for split in self.ood_splits)]
        for domain in domains:
            for part in ("train", "test"):
                files = self._read(domain, part)
                for number, label in enumerate(files.labels.tolist()):
                    name = files.names[number].split("/")[-2] if files.names[number].count("/") else ""
                    if names.setdefault(label, name) != name:
                        raise DataError(
                            f"{files.where(number)} has the label {label}, elsewhere that of {names[label]!r}; "
                            "all lists must come from one publisher"
                        )
        if missing := [label for label in range(self.facts.classes) if label not in names]:
            raise DataError(
                f"the lists in {self._list_folder} name no file of {len(missing)} of {self.facts.classes} classes, "
                f"the first is {missing[0]}; get the lists again"
            )
        return tuple(names[label] for label in range(self.facts.classes))

    @property
    def _list_folder(self) -> Path:
        return self.folder / "SENTRY_splits" if self.is_sentry else self.folder

    @functools.cached_property
    def _duplicates(self) -> frozenset[str]:
        if not self.is_deduplicated:
            return frozenset()
        file = self.folder / DUPLICATES
        if not file.is_file():
            raise DataError(f"there is no list {file} of the duplicates to leave out; get it from DomainBed")
        return frozenset(file.read_text().split())

    def _read(self, domain: str, part: str) -> Listing:
        if (domain, part) not in self._lists:
            self._lists[domain, part] = self._read_list(domain, part)
        return self._lists[domain, part]

    def _read_list(self, domain: str, part: str) -> Listing:
        ending = "_mini.txt" if self.is_sentry else ".txt"
        files = read_list(self._list_folder / f"{domain}_{part}{ending}", self.folder, self.facts.classes)
        if not self._duplicates:
            return files
        return files.take(
            np.array([number for number, name in enumerate(files.names) if name not in self._duplicates], np.int64)
        )

    def _list(self, split: str) -> Listing:
        if split.startswith("ood/"):
            return self._read(split.removeprefix("ood/"), "test")
        if split == "id_test":
            return self._read(self.source, "test")
        files = self._read(self.source, "train")
        is_validation = cut(files.names, files.labels, "domainnet id_val", SEED, fraction=ID_VALIDATION)
        return files.take(np.flatnonzero(is_validation if split == "id_val" else ~is_validation))
