"""Which parameters of a model are masked, which train densely and which stay frozen: by name, whatever owns them."""

import dataclasses
import re
from collections.abc import Iterator, Sequence

from torch import nn
from torch.nn.utils import parametrize

Pattern = str | Sequence[str]

# Names as timm, torchvision, transformers and open_clip give them.
_HEADS = {"head", "heads", "head_dist", "fc", "classifier", "classif", "last_linear", "lm_head", "logits", "score"}
_EMBEDDINGS = re.compile(
    r"embed|(^|[._])(cls|class|reg|dist|mask)_?token|position|(^|\.)conv_proj\.|(^|\.)visual\.conv1\."
)
_WRAPPERS = re.compile(r"(^|\.)(module|_orig_mod|_fsdp_wrapped_module)(?=\.)")


@dataclasses.dataclass(frozen=True)
class Target:
    """One parameter and every place that reads it: tied weights have several.

    Attributes:
        name: Qualified name, without the prefixes of wrappers; of tied weights the alphabetically first.
        parameter: The parameter.
        owners: Pairs of the module that reads it and the attribute's name.
    """

    name: str
    parameter: nn.Parameter
    owners: tuple[tuple[nn.Module, str], ...]


@dataclasses.dataclass(frozen=True)
class Roles:
    """Every parameter of a model by its role."""

    masked: tuple[Target, ...]
    dense: tuple[Target, ...]
    frozen: tuple[Target, ...]


def assign(model: nn.Module, masked: Pattern | None, dense: Pattern | None) -> Roles:
    """Sorts the parameters of a model by role.

    By default every weight of two or more dimensions is masked except the head and embeddings; the head, all biases
    and norms train densely; embeddings are frozen.

    Args:
        model: Any module.
        masked: A regular expression searched in qualified names (``r"blocks\\..*(qkv|proj|fc1|fc2)\\.weight"``), or a
            list of name parts (``["qkv", "fc1"]``), of which one must occur between dots. None is the default above.
        dense: The same for parameters that train without a mask. It takes precedence over ``masked``.

    Raises:
        ValueError: If nothing is left to mask, a pattern matches nothing, or the model carries a method already.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
        >>> [target.name for target in assign(model, masked=r"^0\\.weight", dense=["1"]).masked]
        ['0.weight']
    """
    targets = list(_targets(model))
    heads = _head_names(model)
    roles: dict[str, list[Target]] = {"masked": [], "dense": [], "frozen": []}
    for target in targets:
        default = _default_role(target, heads)
        if dense is not None:
            is_dense = _matches(dense, target.name)
        else:
            is_dense = default == "dense" and not _matches(masked, target.name)
        is_masked = default == "masked" if masked is None else _matches(masked, target.name)
        roles["dense" if is_dense else "masked" if is_masked else "frozen"].append(target)
    names = ", ".join(target.name for target in targets)
    for role, pattern in (("masked", masked), ("dense", dense)):
        if pattern is not None and pattern != "" and len(pattern) and not roles[role]:
            raise ValueError(f"{role}={pattern!r} matches no parameter; the model's parameters are: {names or 'none'}")
    if not roles["masked"]:
        raise ValueError(
            "the model has nothing to mask: no weight of two or more dimensions besides the head and embeddings; "
            f"name some with masked=...; the model's parameters are: {names or 'none'}"
        )
    return Roles(*(tuple(roles[role]) for role in ("masked", "dense", "frozen")))


def _default_role(target: Target, heads: set[str]) -> str:
    name, is_matrix = target.name, target.parameter.ndim >= 2
    if heads & set(name.split(".")[:-1]) or any(name.startswith(f"{head}.") for head in heads):
        return "dense"
    is_embedding = bool(_EMBEDDINGS.search(name)) or any(isinstance(owner, nn.Embedding) for owner, _ in target.owners)
    # Within an embedding module biases and norms train, while vectors that are an embedding themselves do not.
    if not is_matrix and (not is_embedding or name.endswith((".weight", ".bias"))):
        return "dense"
    return "frozen" if is_embedding else "masked"


def _targets(model: nn.Module) -> Iterator[Target]:
    owners: dict[int, list[tuple[str, nn.Module, str]]] = {}
    parameters: dict[int, nn.Parameter] = {}
    for prefix, module in model.named_modules():
        if isinstance(module, parametrize.ParametrizationList):
            if any(type(child).__module__.startswith("gmixout.") for child in module):
                raise ValueError(
                    "the model carries a GMixout method already; "
                    "merge() it before attaching another, or start from a fresh model"
                )
            continue
        for attribute, parameter in module._parameters.items():
            if parameter is not None:
                name = _WRAPPERS.sub("", f"{prefix}.{attribute}" if prefix else attribute).lstrip(".")
                owners.setdefault(id(parameter), []).append((name, module, attribute))
                parameters[id(parameter)] = parameter
    for key, places in owners.items():
        places.sort(key=lambda place: place[0])
        yield Target(places[0][0], parameters[key], tuple((module, attribute) for _, module, attribute in places))


def _head_names(model: nn.Module) -> set[str]:
    """Names that count as head: the usual ones, and what a timm model says of itself."""
    classifier = getattr(model, "default_cfg", None) or {}
    declared = classifier.get("classifier", ()) if isinstance(classifier, dict) else ()
    return _HEADS | set([declared] if isinstance(declared, str) else declared)


def _matches(pattern: Pattern | None, name: str) -> bool:
    if pattern is None:
        return False
    if isinstance(pattern, str):
        return bool(pattern) and re.search(pattern, name) is not None
    return any(f".{part}." in f".{name}." for part in pattern)
