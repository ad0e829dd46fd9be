"""Parameter-efficient methods of the library peft: LoRA, DoRA and SHiRA, as the library has them."""

import copy
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from studies.methods.method import Accounting
from studies.methods.plain import Plain, copied, put
from studies.settings import CellSettings


class _Adapter(Plain):
    """Adapters, and the head, train; biases and norms do not. Merging into the weights is the library's own.

    Args:
        model: Its layers are wrapped in place.
        cell: Gives rank and targets, the seed of the adapters' first values, and the number of snapshots.
    """

    def __init__(self, model: nn.Module, cell: CellSettings) -> None:
        import peft

        self._total = sum(parameter.numel() for parameter in model.parameters())
        # The library draws the adapters from torch's global generator.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(cell.seed)
            self._peft = peft.get_peft_model(model, self.configuration(model, cell))
        super().__init__(self._peft.get_base_model(), cell)

    @abstractmethod
    def configuration(self, model: nn.Module, cell: CellSettings) -> Any:
        """The library's configuration."""

    @staticmethod
    def choose(model: nn.Module) -> dict[str, nn.Parameter]:
        # As the library left them.
        return {name: value for name, value in model.named_parameters() if value.requires_grad}

    @contextmanager
    def reported(self) -> Iterator[None]:
        # The adapters' own forward pass rounds otherwise than the merged weight; what is reported is what is merged.
        # Taking an adapter off a weight again leaves rounding errors, so the weights are put back.
        frozen = {name: value for name, value in self.model.named_parameters() if name not in self.trained}
        own = copied(frozen)
        self._peft.merge_adapter()
        try:
            yield
        finally:
            self._peft.unmerge_adapter()
            put(frozen, own)

    def reported_weights(self) -> dict[str, Tensor]:
        return self.held_weights()

    def held_weights(self) -> dict[str, Tensor]:
        merged = copy.deepcopy(self._peft).merge_and_unload()
        return {name: tensor.detach().clone() for name, tensor in merged.state_dict().items()}

    def accounting(self) -> Accounting:
        return replace(super().accounting(), total=self._total)

    def state_dict(self) -> dict[str, Any]:
        # Only what trains or is counted: the frozen weights are the pretrained model's.
        state = super().state_dict()
        del state["model"]
        return state | {"trained": dict(self.trained), "buffers": dict(self.model.named_buffers())}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict({"model": self.model.state_dict()} | state)
        put(self.trained, state["trained"])
        for name, buffer in self.model.named_buffers():
            buffer.copy_(state["buffers"][name])

    def merge(self) -> nn.Module:
        self.model = self._peft.merge_and_unload()
        return self.model


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
