"""GMixout: stochastic weight masking around a moving anchor, for any torch model and any torch optimiser.

Names are loaded on first use, so importing the settings never imports torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gmixout.members import Member
    from gmixout.method import Counts, GMixout
    from gmixout.optimizer import AdamW
    from gmixout.settings import Settings

__all__ = ["AdamW", "Counts", "GMixout", "Member", "Settings"]

_HOMES = {"Settings": "settings", "GMixout": "method", "Counts": "method", "Member": "members", "AdamW": "optimizer"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gmixout' has no attribute {name!r}")
    return getattr(import_module(f"gmixout.{_HOMES[name]}"), name)
