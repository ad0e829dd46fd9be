"""Parameter-efficient methods of the library peft: LoRA, DoRA and SHiRA, as the library has them."""

import copy
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from studies.methods.adapted import keep_weights, layers_to_adapt
from studies.methods.linear_probe import head_of
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
        self._names = list(model.state_dict())
        # Merging the library's attention moves its weights to the end of their module.
        self._orders = {name: list(part._parameters) for name, part in model.named_modules()}
        # The library draws the adapters from torch's global generator.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(cell.seed)
            self._peft = peft.get_peft_model(model, self.configuration(model, cell))
        # Not as one of the library's `modules_to_save`: those are found by the end of their name, and a network of
        # timm has a head of its own, an empty one, within its body.
        head_of(model).requires_grad_(True)
        keep_weights(model)
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
        own = copied(self._frozen())
        with _quiet():
            self._peft.merge_adapter()
        try:
            yield
        finally:
            with _quiet():
                self._peft.unmerge_adapter()
            # An attention's weights are other parameters now.
            put(self._frozen(), own)

    def _frozen(self) -> dict[str, nn.Parameter]:
        return {name: value for name, value in self.model.named_parameters() if name not in self.trained}

    def reported_weights(self) -> dict[str, Tensor]:
        return self.held_weights()

    def held_weights(self) -> dict[str, Tensor]:
        with _quiet():
            merged = copy.deepcopy(self._peft).merge_and_unload().state_dict()
        return {name: merged[name].detach().clone() for name in self._names}

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
        with _quiet():
            self.model = self._peft.merge_and_unload()
        for name, order in self._orders.items():
            parameters = self.model.get_submodule(name)._parameters
            for attribute in order:
                parameters[attribute] = parameters.pop(attribute)
        return self.model


@contextmanager
def _quiet() -> Iterator[None]:
    # An attention and the projection within it are merged together, and the second is said to be merged already.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="All adapters are already merged|Already unmerged")
        yield


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
            target_modules=layers_to_adapt(model, str(cell.options["targets"]), "shira"),
            random_seed=cell.seed,
        )


def _lora(model: nn.Module, cell: CellSettings, has_magnitude: bool) -> Any:
    import peft

    return peft.LoraConfig(
        r=int(cell.options["rank"]),
        lora_alpha=float(cell.options["alpha"]),  # type: ignore[arg-type]
        target_modules=layers_to_adapt(model, str(cell.options["targets"]), "dora" if has_magnitude else "lora"),
        lora_dropout=0.0,
        use_dora=has_magnitude,
    )
