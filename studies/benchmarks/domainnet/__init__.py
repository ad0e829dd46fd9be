"""DomainNet: photographs, sketches, paintings and more of the same things; one domain is trained on, others are OOD."""

from studies.benchmarks.domainnet.official import DomainNet
from studies.benchmarks.domainnet.released import WildsDomainNet

__all__ = ["DomainNet", "WildsDomainNet"]
