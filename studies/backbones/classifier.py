"""A model of timm as an image classifier: its features, and one linear head."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from studies.backbones.pixels import Pixels
from studies.backbones.published import Published


class Classifier(nn.Module):
    """timm's network without its own head, and a head of ours on its pooled features.

    Parameters keep timm's names, after ``body.``.

    Args:
        body: timm's model; its classifier is taken off.
        published: Gives the scale of pixels.
        classes: Outputs of a fresh head, or none: timm's own classifier becomes the head.

    Raises:
        ValueError: If timm's own classifier is wanted, and it is not one linear layer.
    """

    def __init__(self, body: Any, published: Published, classes: int | None) -> None:
        super().__init__()
        own = body.get_classifier()
        body.reset_classifier(0)
        self.pixels = Pixels(published.mean, published.std)
        self.body = body
        if classes is not None:
            self.head = nn.Linear(getattr(body, "head_hidden_size", None) or body.num_features, classes)
        elif isinstance(own, nn.Linear):
            self.head = own
        else:
            what = "none" if isinstance(own, nn.Identity) else type(own).__name__
            raise ValueError(
                f"{published.architecture} with weights {published.tag or 'of its own'} has no linear classifier "
                f"(it has {what}); name the classes of a fresh head"
            )

    def features(self, images: Tensor) -> Tensor:
        """Pooled features ``(N, width)`` of images ``(N, 3, side, side)`` in [0, 1]."""
        found: Tensor = self.body(self.pixels(images))
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, 3, side, side)`` in [0, 1]."""
        return self.head(self.features(images))


def body_of(published: Published, tensors: dict[str, Tensor] | None = None) -> Any:
    """timm's model with fresh weights, or with those of a state dict that timm knows how to convert.

    Args:
        published: Which.
        tensors: The state dict. Its classifier may have any number of classes, or be absent.

    Raises:
        ValueError: If the tensors are not those of the network.
    """
    import timm

    arguments = dict(published.arguments)
    name = f"{published.architecture}.{published.tag}" if published.tag else published.architecture
    if tensors is None:
        return timm.create_model(name, pretrained=False, **arguments)
    known: Any = timm.get_pretrained_cfg(name)
    classes = _classes_in(tensors, known.classifier)
    body: Any
    try:
        body = timm.create_model(
            name,
            pretrained=True,
            num_classes=classes,
            pretrained_cfg_overlay={"state_dict": tensors, "num_classes": classes, "custom_load": False},
            **arguments,
        )
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"the weights do not fit timm's {name}: {error}") from error
    # timm keeps what it was made from, a second copy of the weights.
    body.pretrained_cfg.pop("state_dict", None)
    return body


def _classes_in(tensors: dict[str, Tensor], classifier: Any) -> int:
    """How many classes the first of the classifiers has; 0 if there is none."""
    first = classifier if isinstance(classifier, str) or not classifier else classifier[0]
    found = tensors.get(f"{first}.weight")
    return len(found) if found is not None else 0
