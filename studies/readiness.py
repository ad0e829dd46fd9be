"""Whether a study can run on this machine: everything that is missing or wrong, found before anything starts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from studies import benchmarks
from studies.benchmarks import Benchmark, DataError
from studies.benchmarks.facts import TOGETHER
from studies.settings import Execution, StudySettings
from studies.settings.backbones import has_text
from studies.sizes import Sizes, published_sizes, sizes_of
from studies.store import ResultsError, Store
from studies.viewed import class_words

WHOLE = 0.95
"""A split with a smaller part of its published images than this is refused."""

_NUMBER = re.compile(r"(class[ _-]?)?\d+|n\d{8}")
"""Names that say nothing to a text tower: numbers, and identifiers of WordNet."""


def look_at_data(name: str) -> tuple[Sizes | None, list[str]]:
    """The sizes of a study's benchmark, and what is wrong with it.

    Data that is made on the machine is right by construction; ``gmixout data check`` makes it again.

    Args:
        name: A benchmark of the suite, or a user's own that is known.

    Returns:
        Sizes of the data, if it is whole; else what its publisher says, or None where nobody does. Problems, each one
        sentence.
    """
    problems: list[str] = []
    try:
        benchmark = benchmarks.load(name)
        if name not in benchmarks.FACTS or not benchmarks.FACTS[name].is_embedded:
            problems = list(benchmark.check())
        return sizes_of(benchmark), problems
    except DataError as error:
        if str(error) not in problems:
            problems.append(str(error))
    try:
        return published_sizes(name), problems
    except DataError:
        return None, problems


def half_there(benchmark: Benchmark) -> list[str]:
    """Splits with far fewer images than their publisher states, and classes without a single training image.

    Training on such data would run, and give numbers of another benchmark. A few missing files are no matter of this:
    ``gmixout data check`` counts every one.

    Args:
        benchmark: Any; of those without published sizes only classes are looked at.
    """
    facts = getattr(benchmark, "facts", None)
    problems = []
    for joined, expected in facts.images.items() if facts is not None else ():
        held = sum(len(benchmark.load(split).labels) for split in joined.split(TOGETHER))
        if expected is not None and held < WHOLE * expected:
            problems.append(
                f"{joined} of {benchmark.name} has {held} of {expected} images, it looks half extracted; "
                f"`gmixout data check {benchmark.name}` says what is missing"
            )
    empty = [name for name, count in zip(benchmark.classes, benchmark.train_counts, strict=True) if count == 0]
    if empty and not (facts is not None and facts.may_lack_classes):
        problems.append(
            f"{len(empty)} of {len(benchmark.classes)} classes of {benchmark.name} have no training image, the first "
            f"is {empty[0]!r}; add images, or take the class away everywhere"
        )
    return problems


def wrong_weights(study: StudySettings) -> list[str]:
    """Which pretrained weights are not on this machine, each with the command that gets them."""
    from studies import backbones
    from studies.backbones.weights import find_weights, missing

    found = {name: backbones.find(name) for name in study.backbones}
    return [
        missing(name, one)
        for name, one in found.items()
        if isinstance(one, backbones.Published) and find_weights(one) is None
    ]


def wrong_device(execution: Execution) -> list[str]:
    """Whether the device that a study names is there."""
    import torch

    if execution.device == "cpu" or torch.cuda.is_available():
        return []
    return [
        f"execution.device is {execution.device}, but torch sees no GPU on this machine; run it where there is "
        "one, or set device: cpu in a copy of the study's file"
    ]


def wrong_results(store: Store) -> list[str]:
    """Whether the results folder cannot be used."""
    try:
        store.check([])
    except ResultsError as error:
        return [str(error)]
    return []


def wrong_classes(study: StudySettings, sizes: Sizes) -> list[str]:
    """What a backbone cannot give the classes or the methods, and names that a zero-shot head can make nothing of."""
    from studies.fit import require_fit

    problems = []
    for name in study.backbones:
        try:
            require_fit(study.model_copy(update={"backbones": (name,)}), class_words(sizes.classes))
        except ValueError as error:
            problems.append(str(error))
    # Of absent data the names are not known.
    if sizes.is_here and any(has_text(name) for name in study.backbones):
        problems += _speechless(sizes.classes)
    return problems


def same_names(study: StudySettings, sizes: Sizes) -> list[str]:
    """Names that several classes share, so that a zero-shot head cannot tell them apart: allowed, and worth knowing."""
    shared = sorted(name for name, count in Counter(class_words(sizes.classes)).items() if count > 1)
    if not shared or not any(has_text(name) for name in study.backbones):
        return []
    return [
        f"classes: {len(shared)} names belong to several classes each, the first is {shared[0]!r}; a zero-shot head "
        "gives these equal logits"
    ]


def _speechless(classes: Sequence[str]) -> Iterator[str]:
    numbers = [name for name in classes if _NUMBER.fullmatch(name)]
    if numbers:
        yield (
            f"{len(numbers)} of {len(classes)} classes have no name but a number or an identifier, the first is "
            f"{numbers[0]!r}: a zero-shot head can make nothing of that; name the classes (`gmixout data list` says in "
            "which file, of your own folders the folders' names count), or choose a backbone without a text tower"
        )
