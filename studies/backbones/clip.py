"""CLIP as an image classifier: open_clip's towers, with a head that class names give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from studies.backbones.pixels import Pixels
from studies.backbones.prompts import prompts_of
from studies.backbones.published import Published

TEXTS_AT_ONCE = 256


class Clip(nn.Module):
    r"""The image tower and a linear head on its unit features.

    .. math:: \text{logits} = W\,u + b, \qquad u = f(x) / \lVert f(x) \rVert

    A zero-shot head has :math:`W_k = e^{t} \bar v_k`, with the model's scale :math:`t` and the unit text feature
    :math:`\bar v_k` of class k, and :math:`b = 0`: CLIP's own logits. The features stay normalised while they train.

    With a text tower the model also has ``text``, ``logit_scale`` (:math:`t`) and, once :meth:`read` was called,
    ``prompts``; without one it is the size of its image tower.

    Args:
        towers: open_clip's model, of the class with its text tower apart; its modules are taken over.
        published: Gives the scale of pixels.
        classes: Outputs of the head.
        keep_text: Whether the text tower stays.
    """

    prompts: Tensor

    def __init__(self, towers: Any, published: Published, classes: int, keep_text: bool) -> None:
        super().__init__()
        self.pixels = Pixels(published.mean, published.std)
        self.visual = towers.visual
        if keep_text:
            self.text = towers.text
            self.logit_scale = towers.logit_scale
        self.head = nn.Linear(towers.visual.output_dim, classes)

    def encode_image(self, images: Tensor) -> Tensor:
        """Features ``(N, width)``, not normalised, of images ``(N, 3, side, side)`` in [0, 1]."""
        found: Tensor = self.visual(self.pixels(images))
        return found

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Features ``(N, width)``, not normalised, of tokens ``(N, length)``."""
        found: Tensor = self.text(tokens)
        return found

    def features(self, images: Tensor) -> Tensor:
        """Unit features ``(N, width)`` of images ``(N, 3, side, side)`` in [0, 1]: the input of the head."""
        return functional.normalize(self.encode_image(images), dim=-1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, 3, side, side)`` in [0, 1]."""
        return self.head(self.features(images))

    def read(self, classes: Sequence[str], prompts: str) -> None:
        """Keeps the tokens of every class's prompts as ``prompts``, shape ``(classes, prompts, length)``.

        They are no part of the state dict.

        Args:
            classes: Class names, as they are to be read.
            prompts: Name of a prompt set.
        """
        length = int(self.text.context_length)
        self.register_buffer("prompts", tokens_of(classes, prompts, length), persistent=False)

    def zero_shot_head(self) -> Tensor:
        """The head's weight that the text tower gives now to the prompts it has read, shape ``(classes, width)``."""
        return head_of_tokens(self, self.prompts)


def towers_of(published: Published) -> Any:
    """open_clip's network of a CLIP, with fresh weights and its text tower in a module of its own.

    Args:
        published: Which. The activation is that which its weights were trained with.
    """
    import open_clip
    from open_clip import model, pretrained

    configuration = open_clip.get_model_config(published.architecture)
    assert configuration is not None
    known = pretrained.get_pretrained_cfg(published.architecture, published.tag)
    configuration["quick_gelu"] = bool(known.get("quick_gelu") or configuration.get("quick_gelu"))
    return model.CustomTextCLIP(**{**configuration, **published.arguments})


def to_towers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict as open_clip or OpenAI name it, in the names of :func:`towers_of`'s network."""
    from open_clip.model import convert_to_custom_text_state_dict

    # OpenAI's own state dicts hold three numbers about the network beside its weights.
    known = ("input_resolution", "context_length", "vocab_size")
    return convert_to_custom_text_state_dict({name: value for name, value in tensors.items() if name not in known})


def tokens_of(classes: Sequence[str], prompts: str, length: int) -> Tensor:
    """Tokens of every class name in every prompt, int64, shape ``(classes, prompts, length)``.

    Args:
        classes: Class names, as they are to be read.
        prompts: Name of a prompt set.
        length: Tokens of a text; a longer one is cut.

    Raises:
        ValueError: If there is no class, or no such prompt set.
    """
    from open_clip.tokenizer import SimpleTokenizer

    if not classes:
        raise ValueError("a zero-shot head needs class names, got none")
    sentences = prompts_of(prompts)
    tokenizer = SimpleTokenizer(context_length=length)
    found: Tensor = tokenizer([sentence.replace("{}", name) for name in classes for sentence in sentences])
    return found.reshape(len(classes), len(sentences), length)


@torch.no_grad()
def head_of_tokens(model: Any, tokens: Tensor, progress: Callable[[int, int], None] | None = None) -> Tensor:
    r"""The zero-shot weight of each class: the unit mean of its prompts' unit features, times :math:`e^{t}`.

    That is the convention of CLIP and WiSE-FT.

    Args:
        model: Has ``encode_text`` and ``logit_scale`` (:math:`t`).
        tokens: Shape ``(classes, prompts, length)``.
        progress: Called with (texts read, texts in all).

    Returns:
        Shape ``(classes, width)``.
    """
    texts = tokens.flatten(0, 1)
    parts: list[Tensor] = []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        parts.append(functional.normalize(model.encode_text(texts[start : start + TEXTS_AT_ONCE]), dim=-1))
        if progress is not None:
            progress(min(start + TEXTS_AT_ONCE, len(texts)), len(texts))
    features = torch.cat(parts).reshape(*tokens.shape[:2], -1).mean(dim=1)
    return model.logit_scale.exp() * functional.normalize(features, dim=-1)
