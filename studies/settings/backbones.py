"""The backbones that a study can name, and the prompts of those that read text. Needs no torch."""

import re
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator

BACKBONE_NAMES = (
    "digits-vit",
    "digits-convnet",
    "digits-vit-tiny",
    "clip-vit-b32",
    "clip-vit-b16",
    "clip-vit-l14",
    "vit-b16",
    "vit-s16",
    "dino-vit-b16",
    "deit-b16",
    "resnet50",
    "convnext-tiny",
)
"""Those with a name of their own; `studies.backbones.BACKBONES` has the same."""

_PATTERN = re.compile(r"timm:[A-Za-z0-9_.]+|clip-vit-(b32|b16|l14):[A-Za-z0-9_.-]+")
_TEXT = re.compile(r"clip-vit-(b32|b16|l14)(:|$)")

PromptSet = Literal["plain", "simple7", "openai80", "cifar", "iwildcam", "domainnet"]
PROMPT_SETS: tuple[str, ...] = get_args(PromptSet)


def has_text(backbone: str) -> bool:
    """Whether a backbone has a text tower.

    Example:
        >>> has_text("clip-vit-b16"), has_text("vit-b16")
        (True, False)
    """
    return _TEXT.match(backbone) is not None


def is_own(backbone: str) -> bool:
    """Whether a backbone is a small one of the suite, made for a core.

    Example:
        >>> is_own("digits-vit"), is_own("vit-s16")
        (True, False)
    """
    return backbone.startswith("digits-")


def _is_backbone(name: str) -> str:
    if name not in BACKBONE_NAMES and not _PATTERN.fullmatch(name):
        raise ValueError(
            f"must be one of {', '.join(BACKBONE_NAMES)}; or timm:MODEL for any of timm's, or clip-vit-b16:TAG for "
            "other weights of open_clip's"
        )
    return name


BackboneName = Annotated[str, AfterValidator(_is_backbone)]
