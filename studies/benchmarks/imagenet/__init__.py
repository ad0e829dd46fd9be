"""ImageNet with its natural shifts, and its long-tailed subset."""

from studies.benchmarks.imagenet.longtail import ImageNetLongTail
from studies.benchmarks.imagenet.shifted import ImageNet

__all__ = ["ImageNet", "ImageNetLongTail"]
