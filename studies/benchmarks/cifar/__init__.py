"""CIFAR-100: 32 x 32 photographs; plain, with CIFAR-100-C's corruptions, or with a long tail."""

from studies.benchmarks.cifar.plain import Cifar100

__all__ = ["Cifar100"]
