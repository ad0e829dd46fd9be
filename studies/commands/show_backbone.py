"""`gmixout show`: what a backbone is, and what the method would do with each of its tensors. Needs no weights."""

import dataclasses
import json
from typing import TYPE_CHECKING, Any, get_args

import typer
from rich.console import Console

from gmixout.settings import Granularity, Settings

if TYPE_CHECKING:
    from gmixout.masks import MaskPlan
    from gmixout.targets import Roles
    from studies.backbones import Backbone, Published

DIGITS = 10
IMAGENET = 1000


def show_backbone(
    name: str = typer.Argument(..., metavar="BACKBONE", help="A backbone, or timm:MODEL, or clip-vit-b16:WEIGHTS."),
    sparsity: float = typer.Option(Settings.sparsity, "--sparsity", help="Fraction held at the anchor, in [0, 1)."),
    granularity: str = typer.Option(
        Settings.granularity, "--granularity", help=f"What a mask bit covers: {', '.join(get_args(Granularity))}."
    ),
    classes: int = typer.Option(0, "--classes", min=0, help="Outputs of the head; 10 for digits, else 1000."),
    is_json: bool = typer.Option(False, "--json", help="Print JSON instead of text."),
) -> None:
    """Show a backbone: input, head, source, licence, weights, and which tensors are masked, dense or frozen.

    No weights are needed: shapes say it all. Whether the weights are on this machine is said, too.

    Example: gmixout show clip-vit-b16 --sparsity 0.9
    """
    settings = Settings(sparsity=sparsity, granularity=granularity)  # type: ignore[arg-type]
    facts, table = examine(name, settings, classes)
    if is_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    console = Console()
    for line in [*_lines(facts), "", table]:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def examine(name: str, settings: Settings, classes: int = 0) -> tuple[dict[str, Any], str]:
    """The facts about a backbone under the method, and a table with a line for every parameter.

    Args:
        name: The backbone.
        settings: The levers; sparsity and granularity matter here.
        classes: Outputs of the head; 0 for the usual number.

    Raises:
        ValueError: If the name is unknown, the digits' backbones are to have other classes, or a granularity does not
            fit a weight.
    """
    from gmixout import accounting
    from gmixout.targets import assign
    from studies import backbones

    found = backbones.find(name)
    number = classes or (IMAGENET if isinstance(found, backbones.Published) else DIGITS)
    model: Any = backbones.blank(name, [str(label) for label in range(number)], device="meta")
    roles = assign(model, None, None)
    forms = _planned(roles, settings)
    total = sum(parameter.numel() for parameter in model.parameters())
    kept = sum(form.plan.kept_entries for form in forms)
    dense = sum(target.parameter.numel() for target in roles.dense)
    facts = {
        "backbone": name,
        "network": type(model).__name__,
        **_origin(name, found),
        "view": dataclasses.asdict(found.view),
        "head": [model.head.in_features, model.head.out_features],
        "parameters": total,
        "masked": sum(form.plan.entries for form in forms),
        "dense": dense,
        "frozen": sum(target.parameter.numel() for target in roles.frozen),
        "tensors": {role: [target.name for target in getattr(roles, role)] for role in ("masked", "dense", "frozen")},
        "sparsity": settings.sparsity,
        "granularity": settings.granularity,
        "trained_per_episode": kept + dense,
    }
    return facts, accounting.describe(forms, roles)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class _Planned:
    """The part of a masked weight that its shape decides."""

    name: str
    plan: "MaskPlan"


def _planned(roles: "Roles", settings: Settings) -> list[_Planned]:
    from gmixout.masks import MaskPlan
    from gmixout.sampling import tensor_key

    return [
        _Planned(target.name, MaskPlan(tensor_key(settings.seed, target.name), tuple(target.parameter.shape), settings))
        for target in roles.masked
    ]


def _origin(name: str, found: "Backbone | Published") -> dict[str, Any]:
    from studies.backbones import Published
    from studies.backbones.weights import fetch_command, find_weights

    facts: dict[str, Any] = {"source": found.source, "licence": found.licence}
    if not isinstance(found, Published):
        from studies.backbones import is_cached

        state = "cached" if is_cached(name, 0) else "not yet made; it is pretrained when a study needs it"
        return facts | {"weights": f"pretraining seed 0: {state}"}
    path = find_weights(found)
    facts |= {"architecture": found.architecture, "repository": found.repository, "mean": found.mean, "std": found.std}
    if path is None:
        return facts | {"weights": f"missing; get them: {fetch_command(found)}"}
    from studies.backbones import describe

    return facts | {"weights": f"found: {path}, SHA-256 {describe(name, 0)['sha256']}"}


def _lines(facts: dict[str, Any]) -> list[str]:
    view, (width, classes) = facts["view"], facts["head"]
    lines = [
        f"{facts['backbone']}: {facts.get('architecture', facts['network'])}, {facts['parameters']:,} parameters",
        f"source: {facts['source']}",
        f"licence: {facts['licence']}",
        f"weights: {facts['weights']}",
        f"input: {view['crop']} x {view['crop']} pixels in [0, 1], cut from the middle of an image whose shorter side "
        f"is resized to {view['resize']} ({view['interpolation']})",
    ]
    if "mean" in facts:
        lines.append(f"normalised by the model itself: mean {facts['mean']}, standard deviation {facts['std']}")
    lines.append(f"head: {width} features to {classes} classes")
    tensors = facts["tensors"]
    lines += [f"{role}: {facts[role]:,} entries in {len(tensors[role])} tensors" for role in tensors]
    lines.append(
        f"trained per episode: {facts['trained_per_episode']:,} of {facts['parameters']:,} at sparsity "
        f"{facts['sparsity']:g}, granularity {facts['granularity']}"
    )
    return lines
