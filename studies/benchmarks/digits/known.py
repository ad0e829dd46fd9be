"""What is known of the embedded benchmark without rendering it."""

from __future__ import annotations

from collections.abc import Mapping

from studies.benchmarks.digits import longtail
from studies.benchmarks.digits.splits import PER_CLASS, RENDERINGS
from studies.benchmarks.facts import Facts

_IMAGES: Mapping[str, int] = {split: 10 * PER_CLASS[split] * RENDERINGS[split] for split in PER_CLASS}


def facts(is_longtail: bool) -> Facts:
    """What is known of `digits`, or of its long-tailed variant."""
    images: dict[str, int | None] = dict(_IMAGES)
    if is_longtail:
        images["train"] = int(longtail.scans_per_class().sum()) * RENDERINGS["train"]
    return Facts(
        title="handwritten digits in six drawn domains" + (", with a long tail" if is_longtail else ""),
        home="",
        licence="scans of scikit-learn (CC BY 4.0); drawings MIT, as this code",
        gigabytes=0,
        folder="",
        layout=("nothing: it is drawn on the machine",),
        classes=10,
        images=images,
        corruptions=15,
    )
