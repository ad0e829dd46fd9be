"""The table of backbones: what is trained here, and what others have published."""

from __future__ import annotations

import functools

from studies.backbones.backbone import Backbone, Pretraining
from studies.backbones.convnet import SmallConvNet
from studies.backbones.published import (
    CLIP_FILES,
    CLIP_LICENCE,
    HALF,
    OPENAI_MEAN,
    OPENAI_STD,
    Published,
    clip_of,
    timm_of,
)
from studies.backbones.vit import SmallViT
from studies.benchmarks.images import View

CLIP_SOURCE = "OpenAI's CLIP (Radford et al., 2021), 400 million pairs of images and texts, converted by open_clip"

BACKBONES: dict[str, Backbone | Published] = {
    "digits-vit": Backbone(SmallViT, Pretraining()),
    "digits-convnet": Backbone(SmallConvNet, Pretraining()),
    "digits-vit-tiny": Backbone(
        functools.partial(SmallViT, widths=(8, 16, 32), depth=1, heads=2),
        Pretraining(images=12_000, batch_size=20, learning_rate=5e-3, warmup_steps=50),
    ),
    "clip-vit-b32": Published(
        family="clip",
        architecture="ViT-B-32",
        tag="openai",
        repository="timm/vit_base_patch32_clip_224.openai",
        files=CLIP_FILES,
        source=CLIP_SOURCE,
        licence=CLIP_LICENCE,
        mean=OPENAI_MEAN,
        std=OPENAI_STD,
    ),
    "clip-vit-b16": Published(
        family="clip",
        architecture="ViT-B-16",
        tag="openai",
        repository="timm/vit_base_patch16_clip_224.openai",
        files=CLIP_FILES,
        source=CLIP_SOURCE,
        licence=CLIP_LICENCE,
        mean=OPENAI_MEAN,
        std=OPENAI_STD,
    ),
    "clip-vit-l14": Published(
        family="clip",
        architecture="ViT-L-14",
        tag="openai",
        repository="timm/vit_large_patch14_clip_224.openai",
        files=CLIP_FILES,
        source=CLIP_SOURCE,
        licence=CLIP_LICENCE,
        mean=OPENAI_MEAN,
        std=OPENAI_STD,
    ),
    "vit-b16": Published(
        family="timm",
        architecture="vit_base_patch16_224",
        tag="augreg_in21k_ft_in1k",
        repository="timm/vit_base_patch16_224.augreg_in21k_ft_in1k",
        source="supervised on ImageNet-21k, then ImageNet-1k (Steiner et al., 2021)",
        licence="apache-2.0",
        mean=HALF,
        std=HALF,
        view=View(248, 224),
    ),
    "vit-s16": Published(
        family="timm",
        architecture="vit_small_patch16_224",
        tag="augreg_in21k_ft_in1k",
        repository="timm/vit_small_patch16_224.augreg_in21k_ft_in1k",
        source="supervised on ImageNet-21k, then ImageNet-1k (Steiner et al., 2021)",
        licence="apache-2.0",
        mean=HALF,
        std=HALF,
        view=View(248, 224),
    ),
    "dino-vit-b16": Published(
        family="timm",
        architecture="vit_base_patch16_224",
        tag="dino",
        repository="timm/vit_base_patch16_224.dino",
        source="self-supervised on ImageNet-1k, DINO (Caron et al., 2021); no head",
        licence="apache-2.0",
        view=View(248, 224),
    ),
    "deit-b16": Published(
        family="timm",
        architecture="deit_base_patch16_224",
        tag="fb_in1k",
        repository="timm/deit_base_patch16_224.fb_in1k",
        source="supervised on ImageNet-1k, DeiT (Touvron et al., 2021)",
        licence="apache-2.0",
        view=View(248, 224),
    ),
    "resnet50": Published(
        family="timm",
        architecture="resnet50",
        tag="a1_in1k",
        repository="timm/resnet50.a1_in1k",
        source="supervised on ImageNet-1k, recipe A1 of timm (Wightman et al., 2021)",
        licence="apache-2.0",
        view=View(235, 224),
    ),
    "convnext-tiny": Published(
        family="timm",
        architecture="convnext_tiny",
        tag="fb_in1k",
        repository="timm/convnext_tiny.fb_in1k",
        source="supervised on ImageNet-1k, ConvNeXt (Liu et al., 2022)",
        licence="apache-2.0",
        view=View(256, 224),
    ),
}


def find(name: str) -> Backbone | Published:
    """The declaration of a backbone.

    Args:
        name: A name in ``BACKBONES``; of a CLIP among them with other weights of open_clip
            (``clip-vit-b16:laion2b_s34b_b88k``); or any model of timm (``timm:vit_tiny_patch16_224.augreg_in21k``).

    Raises:
        ValueError: If there is no such backbone, or the library has no such weights.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    family, has_more, rest = name.partition(":")
    if family == "timm" and has_more:
        return timm_of(rest)
    known = BACKBONES.get(family)
    if isinstance(known, Published) and known.has_text and has_more:
        return clip_of(known.architecture, rest)
    raise ValueError(
        f"unknown backbone {name!r}; choose one of {', '.join(sorted(BACKBONES))}, a CLIP of them with weights of "
        "open_clip (clip-vit-b16:laion2b_s34b_b88k), or a model of timm (timm:vit_tiny_patch16_224)"
    )
