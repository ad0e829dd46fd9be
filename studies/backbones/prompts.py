"""Prompt sets by name: the sentences a class name is put into before a text tower reads it."""

from __future__ import annotations

from collections.abc import Callable

CIFAR = (
    "a photo of a {}.",
    "a blurry photo of a {}.",
    "a black and white photo of a {}.",
    "a low contrast photo of a {}.",
    "a high contrast photo of a {}.",
    "a bad photo of a {}.",
    "a good photo of a {}.",
    "a photo of a small {}.",
    "a photo of a big {}.",
    "a photo of the {}.",
    "a blurry photo of the {}.",
    "a black and white photo of the {}.",
    "a low contrast photo of the {}.",
    "a high contrast photo of the {}.",
    "a bad photo of the {}.",
    "a good photo of the {}.",
    "a photo of the small {}.",
    "a photo of the big {}.",
)

DOMAINNET = ("a photo of a {}.", "a sketch of a {}.", "a painting of a {}.", "a clipart of a {}.")

PROMPTS: dict[str, Callable[[], tuple[str, ...]]] = {
    "plain": lambda: ("a photo of a {}.",),
    "simple7": lambda: _of_open_clip("SIMPLE_IMAGENET_TEMPLATES"),
    "openai80": lambda: _of_open_clip("OPENAI_IMAGENET_TEMPLATES"),
    "cifar": lambda: CIFAR,
    "iwildcam": lambda: ("a photo of {}.", "{} in the wild."),
    "domainnet": lambda: DOMAINNET,
}
"""Where each comes from: ``plain`` is WiSE-FT's simple set. ``openai80`` are OpenAI's 80 prompts for ImageNet and
``simple7`` the seven of them that OpenAI calls the best subset, both as open_clip carries them. ``cifar`` are OpenAI's
18 prompts for CIFAR-10 and CIFAR-100 (prompts.md of openai/CLIP). ``iwildcam`` are WiSE-FT's two. No paper fixes
``domainnet``: it names the domains, the out-of-distribution ones among them, and is ours; ``plain`` names none."""


def prompts_of(name: str) -> tuple[str, ...]:
    """The sentences of a prompt set, with ``{}`` in the class name's place.

    Raises:
        ValueError: If there is no such set.

    Example:
        >>> prompts_of("iwildcam")
        ('a photo of {}.', '{} in the wild.')
    """
    if name not in PROMPTS:
        raise ValueError(f"unknown prompt set {name!r}; choose one of {', '.join(PROMPTS)}")
    return PROMPTS[name]()


def _of_open_clip(table: str) -> tuple[str, ...]:
    from open_clip import zero_shot_metadata

    return tuple(prompt("{}") for prompt in getattr(zero_shot_metadata, table))
