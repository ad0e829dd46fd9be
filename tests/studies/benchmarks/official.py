"""The data sets of the package that defines WILDS, imported without its look for newer versions on the network."""

import sys
import warnings

before = sys.modules.get("outdated")
sys.modules["outdated"] = None  # type: ignore[assignment]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from wilds.datasets.domainnet_dataset import DomainNetDataset
    from wilds.datasets.iwildcam_dataset import IWildCamDataset
if before is None:
    del sys.modules["outdated"]
else:
    sys.modules["outdated"] = before

__all__ = ["DomainNetDataset", "IWildCamDataset"]
