"""Parameter-efficient methods of the library peft: LoRA, DoRA and SHiRA, as the library has them."""

import copy
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from studies.methods.method import Accounting, Member, Method, plain_groups, spaced_steps
from studies.methods.plain import copied, put
from studies.settings import CellSettings


class _Adapter(Method):
    """Adapters, and the head, train; biases and norms do not. Merging into the weights is the library's own.

    Args:
        model: Its layers are wrapped in place.
        cell: Gives rank and targets, the seed of the adapters' first values, and the number of snapshots.
    """

    member_kind = "trajectory"

    def __init__(self, model: nn.Module, cell: CellSettings) -> None:
        import peft

        self._total = sum(parameter.numel() for parameter in model.parameters())
        # The library draws the adapters from torch's global generator.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(cell.seed)
            self._peft = peft.get_peft_model(model, self.configuration(model, cell))
        super().__init__(self._peft.get_base_model(), cell)
        self._trained = {name: value for name, value in self._peft.named_parameters() if value.requires_grad}
        self._snapshot_steps = frozenset(spaced_steps(cell.steps, cell.evaluation.members))
        self._snapshots: dict[int, dict[str, Tensor]] = {}
        self._step = 0

    @abstractmethod
    def configuration(self, model: nn.Module, cell: CellSettings) -> Any:
        """The library's configuration."""

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        return plain_groups(self._trained, weight_decay)

    def after_step(self, optimizer: Optimizer) -> None:
        self._step += 1
        if self._step in self._snapshot_steps:
            self._snapshots[self._step] = copied(self._trained)

    @contextmanager
    def reported(self) -> Iterator[None]:
        # The adapters' own forward pass rounds otherwise than the merged weight; what is reported is what is merged.
        # Taking an adapter off a weight again leaves rounding errors, so the weights are put back.
        frozen = {name: value for name, value in self._peft.named_parameters() if not value.requires_grad}
        own = copied(frozen)
        self._peft.merge_adapter()
        try:
            yield
        finally:
            self._peft.unmerge_adapter()
            put(frozen, own)

    def reported_weights(self) -> dict[str, Tensor]:
        merged = copy.deepcopy(self._peft).merge_and_unload()
        return {name: tensor.detach().clone() for name, tensor in merged.state_dict().items()}

    def members(self) -> list[Member]:
        return [Member(step, partial(self._holding, weights)) for step, weights in sorted(self._snapshots.items())]

    def accounting(self) -> Accounting:
        trained = sum(parameter.numel() for parameter in self._trained.values())
        return Accounting(self._total, trained, trained if self._step else 0, 1)

    def state_dict(self) -> dict[str, Any]:
        # Only what trains or is counted: the frozen weights are the pretrained model's.
        buffers = dict(self._peft.named_buffers())
        return {"trained": dict(self._trained), "buffers": buffers, "snapshots": self._snapshots, "step": self._step}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        put(self._trained, state["trained"])
        for name, buffer in self._peft.named_buffers():
            buffer.copy_(state["buffers"][name])
        self._snapshots, self._step = dict(state["snapshots"]), state["step"]

    def merge(self) -> nn.Module:
        self.model = self._peft.merge_and_unload()
        return self.model

    @contextmanager
    def _holding(self, weights: dict[str, Tensor]) -> Iterator[None]:
        own = copied(self._trained)
        put(self._trained, weights)
        try:
            yield
        finally:
            put(self._trained, own)


class Lora(_Adapter):
    """LoRA (Hu et al., ICLR 2022)."""

    def configuration(self, model: nn.Module, cell: CellSettings) -> Any:
        return _lora(model, cell, has_magnitude=False)


class Dora(_Adapter):
    """DoRA (Liu et al., ICML 2024): LoRA of the weights' directions, with magnitudes that train by themselves."""

    def configuration(self, model: nn.Module, cell: CellSettings) -> Any:
        return _lora(model, cell, has_magnitude=True)


class Shira(_Adapter):
    """SHiRA (Bhardwaj et al., NeurIPS 2024) with its random mask: one fixed sparse set of entries trains."""

    def configuration(self, model: nn.Module, cell: CellSettings) -> Any:
        import peft

        # Off is torch's own default; saying so keeps it from warning about it at every new process.
        torch.sparse.check_sparse_tensor_invariants.disable()
        return peft.ShiraConfig(
            r=int(cell.options["rank"]),
            target_modules=str(cell.options["targets"]),
            modules_to_save=["head"],
            random_seed=cell.seed,
        )


def _lora(model: nn.Module, cell: CellSettings, has_magnitude: bool) -> Any:
    import peft

    targets: Any = cell.options["targets"]
    if targets == "all-weights":
        # The library's all-linear leaves convolutions out, a stem's among them, which masked methods train.
        layers = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
        targets = [name for name, part in model.named_modules() if isinstance(part, layers) and name != "head"]
    return peft.LoraConfig(
        r=int(cell.options["rank"]),
        lora_alpha=float(cell.options["alpha"]),  # type: ignore[arg-type]
        target_modules=targets,
        modules_to_save=["head"],
        lora_dropout=0.0,
        use_dora=has_magnitude,
    )
