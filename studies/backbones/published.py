"""What a published backbone is: an architecture of open_clip or timm, and the weights that others trained."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from studies.benchmarks.images import View

Triple = tuple[float, float, float]

OPENAI_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD: Triple = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
HALF: Triple = (0.5, 0.5, 0.5)

CLIP_VIEW = View(224, 224, "bicubic")
CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
TIMM_FILES = ("model.safetensors", "pytorch_model.bin")
CLIP_LICENCE = "MIT (openai/CLIP); its copy on the hub says apache-2.0"


@dataclass(frozen=True)
class Published:
    """A network of a library and its published weights, which are read from a file and never trained here.

    Attributes:
        family: ``clip`` has an image and a text tower (open_clip); ``timm`` is an image model.
        architecture: The library's name of the network.
        tag: The library's name of the weights.
        repository: Where the hub has them, ``owner/name``.
        files: Names the weights' file may have, the best first.
        source: Who trained the weights, and on what.
        licence: The weights' licence, as their publisher states it.
        mean: Mean of each channel, of pixels in [0, 1]; the network subtracts it itself.
        std: Standard deviation of each channel; it divides by it.
        view: How an image becomes the square that the network was evaluated on.
        arguments: Changes to the library's own configuration of the network: of timm arguments of ``create_model``,
            of open_clip the configuration's entries.
    """

    family: Literal["clip", "timm"]
    architecture: str
    tag: str
    repository: str
    source: str
    licence: str
    files: tuple[str, ...] = TIMM_FILES
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    view: View = CLIP_VIEW
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The folder within ``$GMIXOUT_WEIGHTS`` where the file is looked for."""
        return self.repository.rpartition("/")[2]

    @property
    def has_text(self) -> bool:
        """Whether there is a text tower, and so a zero-shot head."""
        return self.family == "clip"


def clip_of(architecture: str, tag: str) -> Published:
    """Any weights that open_clip lists for one of its networks with OpenAI's text tower.

    Args:
        architecture: open_clip's name, such as ``ViT-B-16``.
        tag: open_clip's name of the weights, such as ``laion2b_s34b_b88k``.

    Raises:
        ValueError: If open_clip lists no such weights, or the hub does not have them.

    Example:
        >>> clip_of("ViT-B-16", "laion2b_s34b_b88k").repository
        'laion/CLIP-ViT-B-16-laion2B-s34B-b88K'
    """
    from open_clip import pretrained

    found = pretrained.get_pretrained_cfg(architecture, tag)
    if not found.get("hf_hub"):
        known = ", ".join(pretrained.list_pretrained_tags_by_model(architecture))
        raise ValueError(f"open_clip has no weights {tag!r} of {architecture}; choose one of {known}")
    if found["resize_mode"] != "shortest":
        raise ValueError(f"the weights {tag!r} of {architecture} see images squeezed to a square, which no view does")
    repository, _, file = found["hf_hub"].rpartition("/")
    side = _clip_side(architecture)
    return Published(
        family="clip",
        architecture=architecture,
        tag=tag,
        repository=repository,
        files=(file,) if file else CLIP_FILES,
        source=f"open_clip {architecture}, weights {tag}",
        licence=f"stated on the hub by {repository}",
        mean=found["mean"],
        std=found["std"],
        view=View(side, side, found["interpolation"]),
    )


def timm_of(model: str) -> Published:
    """Any model of timm, with the weights its tag names, or with timm's default ones.

    Args:
        model: timm's name, such as ``vit_tiny_patch16_224.augreg_in21k``.

    Raises:
        ValueError: If timm has no such model or no weights of it on the hub, or they see images in a way that no
            view describes.

    Example:
        >>> timm_of("resnet50.tv_in1k").view
        View(resize=256, crop=224, interpolation='bilinear')
    """
    import timm
    from timm.data import resolve_data_config

    plain = model.partition(".")[0]
    try:
        found = timm.get_pretrained_cfg(model) if timm.is_model(plain) else None
    # timm knows the network, but not the tag.
    except RuntimeError:
        found = None
    if found is None:
        close = difflib.get_close_matches(model, timm.list_models() + timm.list_pretrained(), n=4)
        hint = f"; names like it: {', '.join(close)}" if close else ""
        raise ValueError(f"timm has no model {model!r}{hint}")
    facts = found.to_dict()
    if not facts.get("hf_hub_id"):
        raise ValueError(f"timm has no weights of {model!r} on the hub; choose one of timm.list_pretrained()")
    seen = resolve_data_config(pretrained_cfg=facts)
    _, height, width = seen["input_size"]
    if height != width or seen["crop_mode"] != "center":
        raise ValueError(
            f"{model!r} sees images of {height} x {width} pixels in the mode {seen['crop_mode']!r}; only squares cut "
            "from the middle are supported, choose another model"
        )
    file = facts.get("hf_hub_filename")
    return Published(
        family="timm",
        architecture=plain,
        tag=str(facts.get("tag") or ""),
        repository=facts["hf_hub_id"],
        files=(file,) if file else TIMM_FILES,
        source=f"timm {plain}, weights {facts.get('tag') or 'without a tag'}",
        licence=str(facts.get("license") or f"stated on the hub by {facts['hf_hub_id']}"),
        mean=tuple(seen["mean"]),
        std=tuple(seen["std"]),
        view=View(math.floor(height / seen["crop_pct"]), height, seen["interpolation"]),
    )


def _clip_side(architecture: str) -> int:
    import open_clip

    configuration = open_clip.get_model_config(architecture) or {}
    if {"hf_model_name", "hf_tokenizer_name"} & set(configuration.get("text_cfg", {})):
        raise ValueError(f"{architecture} reads text in another way than OpenAI's CLIP; choose a plain ViT")
    return int(configuration["vision_cfg"]["image_size"])
