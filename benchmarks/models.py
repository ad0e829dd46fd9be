"""The networks that everything is measured on: vision transformers with random weights, and random pictures."""

import dataclasses
import gc

import timm
import torch
from torch import Tensor, nn

# Every linear layer of every block: the same targets for every rival.
MASKED_MODULES = r".*blocks\..*\.(qkv|proj|fc1|fc2)"
MASKED_WEIGHTS = MASKED_MODULES + r"\.weight"


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A vision transformer.

    Attributes:
        image_size: Pixels of a side.
        patch_size: Pixels of a patch's side.
        width: Features.
        depth: Blocks.
        heads: Attention heads.
        classes: Outputs.
    """

    image_size: int
    patch_size: int
    width: int
    depth: int
    heads: int
    classes: int


BACKBONES: dict[str, Backbone] = {
    "vit-tiny-16px": Backbone(16, 4, 64, 2, 2, 10),
    "vit-small-32px": Backbone(32, 4, 192, 6, 3, 10),
    "vit-b16": Backbone(224, 16, 768, 12, 12, 1000),
    "vit-l14": Backbone(224, 14, 1024, 24, 16, 1000),
}


def create(backbone: Backbone, device: torch.device) -> nn.Module:
    """A new network with random weights, the same at every call on one device.

    Example:
        >>> model = create(BACKBONES["vit-tiny-16px"], torch.device("cpu"))
        >>> len(model.blocks), model.head.out_features
        (2, 10)
    """
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_base_patch16_224",
        img_size=backbone.image_size,
        patch_size=backbone.patch_size,
        embed_dim=backbone.width,
        depth=backbone.depth,
        num_heads=backbone.heads,
        num_classes=backbone.classes,
        device=device,
    )
    return model.train()


def batch(backbone: Backbone, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Random pictures ``(size, 3, pixels, pixels)`` and labels ``(size,)``, the same on every device."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(size, 3, backbone.image_size, backbone.image_size, generator=generator)
    labels = torch.randint(0, backbone.classes, (size,), generator=generator)
    return images.to(device), labels.to(device)


def release(device: torch.device) -> None:
    """Lets go of dropped networks where memory is scarce; a CPU's is not, and looking for them takes .3 s."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def masked_shapes(model: nn.Module) -> list[tuple[int, int]]:
    """Shapes (outputs, inputs) of the weights that are masked, in order."""
    return [(m.out_features, m.in_features) for m in masked_layers(model)]


def masked_layers(model: nn.Module) -> list[nn.Linear]:
    """The linear layers of the blocks, in order."""
    return [m for name, m in model.named_modules() if name.startswith("blocks.") and isinstance(m, nn.Linear)]
