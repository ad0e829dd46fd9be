"""Who is compared: full fine-tuning, the floor, other people's methods, and ours. Each builds a `Run` on a new model.

All mask or adapt the same weights, every linear layer of the blocks. All but full fine-tuning, naive Mixout and the
libraries' adapters also train biases, norms and the head densely, as ours does by default.
"""

import dataclasses
import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import gmixout
from benchmarks.models import MASKED_MODULES, MASKED_WEIGHTS, masked_layers
from benchmarks.run import LEARNING_RATE, Run, fused_adamw
from gmixout import GMixout, Settings

REFERENCE, FLOOR = "full", "floor"


@dataclasses.dataclass(frozen=True)
class Rival:
    """A method to measure.

    Attributes:
        label: Printed name.
        build: Attaches the method to a model.
        needs: A library that must be importable, with an attribute that tells it from others of its name; or None.
        setting: A field of `Settings` that must exist, or None.
    """

    label: str
    build: Callable[[nn.Module], Run]
    needs: tuple[str, str] | None = None
    setting: str | None = None

    @property
    def why_missing(self) -> str | None:
        """Why it cannot be measured here, or None."""
        if self.needs is not None:
            library, attribute = self.needs
            if importlib.util.find_spec(library) is None:
                return f"{library} is not installed"
            if not hasattr(importlib.import_module(library), attribute):
                return f"the installed {library} has no {attribute}: another package of that name"
        if self.setting is not None and self.setting not in {field.name for field in dataclasses.fields(Settings)}:
            return f"gmixout.Settings has no {self.setting!r} yet"
        return None


def _full(model: nn.Module) -> Run:
    return Run(model, fused_adamw(model.parameters()))


def _floor(model: nn.Module) -> Run:
    model.requires_grad_(False)
    for parameter in [*(p for p in model.parameters() if p.ndim < 2), *model.head.parameters()]:  # type: ignore[union-attr]
        parameter.requires_grad_(True)
    return Run(model, fused_adamw(model.parameters()))


def _lora(rank: int) -> Callable[[nn.Module], Run]:
    def build(model: nn.Module) -> Run:
        import peft

        config = peft.LoraConfig(
            r=rank, lora_alpha=rank, target_modules=MASKED_MODULES, modules_to_save=["head"], lora_dropout=0.0
        )
        adapted = peft.get_peft_model(model, config)
        return Run(adapted, fused_adamw(adapted.parameters()))

    return build


def _shira(density: float) -> Callable[[nn.Module], Run]:
    def build(model: nn.Module) -> Run:
        import peft

        # The library counts a layer's values as a LoRA's of this rank: rank * (inputs + outputs).
        shapes = [(layer.out_features, layer.in_features) for layer in masked_layers(model)]
        rank = max(1, round(density * sum(o * i for o, i in shapes) / sum(o + i for o, i in shapes)))
        config = peft.ShiraConfig(r=rank, target_modules=MASKED_MODULES, modules_to_save=["head"], random_seed=0)
        adapted = peft.get_peft_model(model, config)
        return Run(adapted, fused_adamw(adapted.parameters()))

    return build


def _spops(density: float) -> Callable[[nn.Module], Run]:
    def build(model: nn.Module) -> Run:
        from benchmarks import spops_layer

        return spops_layer.build(model, density)

    return build


def _naive_mixout(sparsity: float) -> Callable[[nn.Module], Run]:
    """Mixout as one writes it first: a coin-flip mask a weight and step, mixed by elementwise operations."""

    def build(model: nn.Module) -> Run:
        weights = {n: p for n, p in model.named_parameters() if n.startswith("blocks.") and p.ndim == 2}
        anchors = {name: weight.detach().clone() for name, weight in weights.items()}

        def forward(images: Tensor) -> Tensor:
            mixed = {}
            for name, weight in weights.items():
                keep = torch.empty_like(weight).bernoulli_(1.0 - sparsity)
                anchor = anchors[name]
                mixed[name] = (keep * weight + (1.0 - keep) * anchor - sparsity * anchor) / (1.0 - sparsity)
            return torch.func.functional_call(model, mixed, (images,))

        return Run(model, fused_adamw(model.parameters()), forward=forward, kept=anchors)

    return build


def settings_of(density: float, granularity: str = "element", **changes: object) -> Settings:
    """The setting of ours that is timed: a moving anchor and a period that no timed round reaches."""
    point: dict[str, object] = {"anchor": "ema", "resample_every": 1_000_000, "granularity": granularity}
    return Settings(sparsity=1.0 - density, **(point | changes))  # type: ignore[arg-type]


def ours(settings: Settings, with_torch_adamw: bool = False) -> Callable[[nn.Module], Run]:
    """Builds a run of the method; its own AdamW writes the weights itself, torch's leaves that to the method."""

    def build(model: nn.Module) -> Run:
        method = GMixout(model, settings, masked=MASKED_WEIGHTS)
        own: Callable[..., Optimizer] | None = getattr(gmixout, "AdamW", None)
        if with_torch_adamw or own is None:
            optimizer = fused_adamw(method.parameters())
        else:
            optimizer = own(method, lr=LEARNING_RATE)
        return Run(model, optimizer, after=lambda: method.step(optimizer), kept=method)

    return build


def _ours(density: float, granularity: str = "element", **changes: object) -> Callable[[nn.Module], Run]:
    # Settings are made when they are used, so that a field this version lacks is no error at import.
    return lambda model: ours(settings_of(density, granularity, **changes))(model)


RIVALS: dict[str, Rival] = {
    REFERENCE: Rival("full fine-tuning", _full),
    FLOOR: Rival("no weight gradients (floor)", _floor),
    "lora_16": Rival("LoRA r16 (peft)", _lora(16), needs=("peft", "LoraConfig")),
    "shira_10": Rival("SHiRA 10 % (peft)", _shira(0.1), needs=("peft", "ShiraConfig")),
    "spops_10": Rival("element 10 %, spops", _spops(0.1), needs=("spops", "sddmm")),
    "spops_2": Rival("element 2 %, spops", _spops(0.02), needs=("spops", "sddmm")),
    "mixout_naive": Rival("Mixout p .9, naive dense", _naive_mixout(0.9)),
    "mixout": Rival("Mixout p .9, ours", ours(Settings.mixout(0.9, count="bernoulli"))),
    "element_10": Rival("element 10 %", _ours(0.1)),
    "element_2": Rival("element 2 %", _ours(0.02)),
    "row_10": Rival("row 10 %", _ours(0.1, "row")),
    "row_2": Rival("row 2 %", _ours(0.02, "row")),
    "column_10": Rival("column 10 %", _ours(0.1, "column")),
    "column_2": Rival("column 2 %", _ours(0.02, "column")),
    "column16_10": Rival("16 columns 10 %", _ours(0.1, "column", group_size=16)),
    "block64_10": Rival("block 64 10 %", _ours(0.1, "block", block_size=64)),
    "element_10_hilo": Rival("element 10 %, hilo", _ours(0.1, storage="hilo"), setting="storage"),
    "element_2_hilo": Rival("element 2 %, hilo", _ours(0.02, storage="hilo"), setting="storage"),
    "column_10_hilo": Rival("column 10 %, hilo", _ours(0.1, "column", storage="hilo"), setting="storage"),
    "column_2_hilo": Rival("column 2 %, hilo", _ours(0.02, "column", storage="hilo"), setting="storage"),
    "element_10_torch": Rival("element 10 %, torch's AdamW", ours(settings_of(0.1), with_torch_adamw=True)),
}
# For the expensive questions: large networks, compiled steps.
FEW = (REFERENCE, FLOOR, "lora_16", "mixout", "element_10", "row_10", "column_10")


def available(names: list[str], say: Callable[[str], None] = print) -> list[str]:
    """Those that can be measured here; says why another cannot.

    Raises:
        ValueError: If a name is unknown.
    """
    unknown = [name for name in names if name not in RIVALS]
    if unknown:
        raise ValueError(f"unknown rivals {', '.join(unknown)}; choose from {', '.join(RIVALS)}")
    for name in names:
        if RIVALS[name].why_missing:
            say(f"  without {RIVALS[name].label}: {RIVALS[name].why_missing}")
    return [name for name in names if not RIVALS[name].why_missing]
