"""Which layers adapters can be put on, and an attention that keeps its weights while the library adapts it."""

import re
from typing import Any

from torch import nn

from studies.failures import Impossible

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def layers_to_adapt(model: nn.Module, targets: str, method: str) -> list[str]:
    """Names of the layers that adapters go on, in the model's order; never the head, which trains itself.

    Torch's own attention (CLIP's) reads the weights of its projections itself, so it is adapted as one layer, which the
    library can do for LoRA alone. It cannot merge adapters of grouped convolutions (ConvNeXt's depthwise ones), so
    ``all-weights`` leaves those out.

    Args:
        model: A backbone with nothing attached.
        targets: ``all-linear``, ``all-weights``, or a regular expression that a whole name must match.
        method: ``lora``, ``dora`` or ``shira``.

    Raises:
        Impossible: If no layer is left, or one is named that the method cannot adapt; says which would do.
    """
    parts = dict(model.named_modules())
    attentions = [name for name, part in parts.items() if isinstance(part, nn.MultiheadAttention)]
    kinds = (nn.Linear, *_CONVOLUTIONS) if targets == "all-weights" else (nn.Linear,)
    is_rule = targets in ("all-linear", "all-weights")
    found = []
    for name, part in parts.items():
        inner = any(name.startswith(f"{attention}.") for attention in attentions)
        if name == "head" or name.startswith("head."):
            continue
        is_meant = isinstance(part, (*kinds, nn.MultiheadAttention))
        if is_rule and is_meant and not inner and not _is_grouped(parts[name]):
            found.append(name)
        if not is_rule and re.fullmatch(targets, name):
            if inner:
                raise Impossible(
                    f"{name} is no layer of its own: the attention around it reads its weight; "
                    f"target {name.rpartition('.')[0]} (lora) or other layers"
                )
            found.append(name)
    if not found:
        hint = "; all-weights takes convolutions, too" if targets == "all-linear" else ""
        raise Impossible(f"{method} finds no layer of {type(model).__name__} by targets {targets!r}{hint}")
    for name in found:
        if problem := _problem(parts[name], method):
            raise Impossible(f"{method} cannot adapt {name}: {problem}")
    return found


def _is_grouped(part: nn.Module) -> bool:
    return isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d) and part.groups > 1


def _problem(part: nn.Module, method: str) -> str | None:
    if isinstance(part, nn.MultiheadAttention) and method != "lora":
        return (
            "peft adapts torch's attention by LoRA alone; name other layers, such as targets: '.*mlp\\.(c_fc|c_proj)' "
            "for a CLIP, or use lora"
        )
    if _is_grouped(part):
        return "peft cannot merge adapters of grouped convolutions; leave it out of targets"
    if method == "shira" and not isinstance(part, nn.Linear):
        return f"peft has SHiRA for linear layers alone, and this is a {type(part).__name__}"
    if not isinstance(part, (nn.Linear, nn.MultiheadAttention, *_CONVOLUTIONS)):
        return f"peft has no adapter for a {type(part).__name__}"
    return None


def keep_weights(model: nn.Module) -> None:
    """Lets adapted attentions keep their own weights through a forward pass, as the very same parameters.

    The library adds the adapter to the weight before such a pass and subtracts it afterwards, into a new parameter: the
    weight that should be frozen would move by a rounding error at every step.

    Args:
        model: Adapted by the library.
    """
    from peft.tuners.lora.layer import MultiheadAttention

    for part in model.modules():
        if isinstance(part, MultiheadAttention):
            part.register_forward_pre_hook(_remember)
            part.register_forward_hook(_put_back, always_call=True)


def _holders(attention: Any) -> list[tuple[nn.Module, str]]:
    base = attention.get_base_layer()
    return [(base, "in_proj_weight"), (base.out_proj.get_base_layer(), "weight")]


def _remember(attention: Any, inputs: Any) -> None:
    # In a tuple, so that torch does not register them as the module's; none while the adapter is merged.
    attention.kept = () if attention.merged else tuple(getattr(module, name) for module, name in _holders(attention))


def _put_back(attention: Any, inputs: Any, output: Any) -> None:
    for (module, name), kept in zip(_holders(attention), attention.kept):
        module._parameters[name] = kept
    attention.kept = ()
