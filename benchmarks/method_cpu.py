"""What does the method cost on a CPU, in time and in memory, against full fine-tuning and dense Mixout?

One process, one thread, a small ViT (timm, 32×32 images, patch 4, width 192, depth 6, batch 64). All methods take
turns, step by step, so that a machine whose speed drifts treats them alike; times are CPU times of this process, and a
ratio is taken within a round. Reported: the median ratio to full fine-tuning with its quartiles, and tensor bytes.

    python benchmarks/method_cpu.py [--rounds 40] [--out benchmarks/results/method_cpu.csv]
"""

import argparse
import datetime
import pathlib
import platform
import time
from collections.abc import Callable

import pandas as pd
import timm
import torch
from torch import nn
from torch.nn import functional

from gmixout import GMixout, Settings

BATCH, CLASSES = 64, 10
MASKED = r"blocks\..*(qkv|proj|fc1|fc2)\.weight"


class Run:
    """One method at work: a step function, and the tensors it keeps between steps."""

    def __init__(self, name: str, attach: Callable[[nn.Module], GMixout | None]) -> None:
        torch.manual_seed(0)
        self.name = name
        self.model = timm.create_model(
            "vit_tiny_patch16_224", img_size=32, patch_size=4, embed_dim=192, depth=6, num_heads=3, num_classes=CLASSES
        )
        self.method = attach(self.model)
        parameters = self.model.parameters() if self.method is None else self.method.parameters()
        self.optimizer = torch.optim.AdamW(parameters, lr=1e-4)
        self.saved_bytes = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images)

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        functional.cross_entropy(self.forward(images), labels).backward()
        self.optimizer.step()
        if self.method is not None:
            self.method.step(self.optimizer)
        self.optimizer.zero_grad()

    def measure_memory(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, int]:
        """Bytes of parameters, buffers, gradients and optimiser state after a step; bytes saved for backward."""
        saved: dict[int, int] = {}
        own = {t.untyped_storage().data_ptr() for t in [*self.model.parameters(), *self.model.buffers()]}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            pointer = tensor.untyped_storage().data_ptr()
            if pointer not in own:
                saved[pointer] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = functional.cross_entropy(self.forward(images), labels)
        loss.backward()
        self.optimizer.step()
        state = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in self._tensors()}
        self.optimizer.zero_grad()
        return {"state_bytes": sum(state.values()), "saved_bytes": sum(saved.values())}

    def _tensors(self) -> list[torch.Tensor]:
        parameters = list(self.model.parameters())
        moments = [v for s in self.optimizer.state.values() for v in s.values() if isinstance(v, torch.Tensor)]
        gradients = [p.grad for p in parameters if p.grad is not None]
        return parameters + list(self.model.buffers()) + moments + gradients


class NaiveMixout(Run):
    """Mixout as one writes it first: a stored coin-flip mask a weight and step, mixed by elementwise operations."""

    def __init__(self, name: str, sparsity: float) -> None:
        super().__init__(name, lambda model: None)
        self.sparsity = sparsity
        weights = {n: p for n, p in self.model.named_parameters() if n.startswith("blocks.") and p.ndim == 2}
        self.anchors = {n: p.detach().clone() for n, p in weights.items()}
        self.weights = weights

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        p, mixed = self.sparsity, {}
        for name, weight in self.weights.items():
            keep = torch.empty_like(weight).bernoulli_(1 - p)
            anchor = self.anchors[name]
            mixed[name] = (keep * weight + (1 - keep) * anchor - p * anchor) / (1 - p)
        return torch.func.functional_call(self.model, mixed, (images,))

    def _tensors(self) -> list[torch.Tensor]:
        return super()._tensors() + list(self.anchors.values())


def attach(settings: Settings) -> Callable[[nn.Module], GMixout]:
    return lambda model: GMixout(model, settings, masked=MASKED)


def runs() -> list[Run]:
    element = {"resample_every": 100, "anchor": "ema"}
    return [
        Run("full fine-tuning", lambda model: None),
        NaiveMixout("Mixout, naive dense, p .9", 0.9),
        Run("Mixout, ours (dense form), p .9", attach(Settings.mixout(0.9, count="bernoulli"))),
        Run("GMixout element, p .9, k 100", attach(Settings(sparsity=0.9, **element))),
        Run("GMixout element, p .98, k 100", attach(Settings(sparsity=0.98, **element))),
        Run("GMixout row, p .9, k 100", attach(Settings(sparsity=0.9, granularity="row", **element))),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="timed rounds, each one step of every method")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "results/method_cpu.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, 32, 32, generator=generator)
    labels = torch.randint(0, CLASSES, (BATCH,), generator=generator)
    methods = runs()
    memory = {run.name: run.measure_memory(images, labels) for run in methods}
    redraw = {run.name: _redraw_ms(run) for run in methods}
    times: dict[str, list[float]] = {run.name: [] for run in methods}
    for number in range(options.rounds + 2):
        # The order rotates, so that none always follows the same neighbour's cache.
        for run in methods[number % len(methods) :] + methods[: number % len(methods)]:
            start = time.process_time()
            run.step(images, labels)
            if number >= 2:
                times[run.name].append(time.process_time() - start)
        print(f"\rround {number + 1} of {options.rounds + 2}", end="", flush=True)
    print()
    table = pd.DataFrame([_row(run.name, times, memory, redraw) for run in methods])
    table["device"] = f"{platform.machine()} CPU, 1 thread, torch {torch.__version__.split('+')[0]}"
    table["date"] = datetime.datetime.now(datetime.UTC).date().isoformat()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out, index=False, float_format="%.4g")
    print(table.drop(columns=["device", "date"]).to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    print(f"written to {options.out}; absolute times depend on the machine, ratios are what to quote")


def _row(name: str, times: dict[str, list[float]], memory: dict, redraw: dict[str, float]) -> dict[str, object]:
    reference = pd.Series(times["full fine-tuning"])
    ratio = pd.Series(times[name]) / reference
    low, median, high = ratio.quantile([0.25, 0.5, 0.75])
    return {
        "method": name,
        "step_ratio": median,
        "step_ratio_q25": low,
        "step_ratio_q75": high,
        "step_ms": 1e3 * pd.Series(times[name]).median(),
        "redraw_ms": redraw[name],
        "state_mb": memory[name]["state_bytes"] / 1e6,
        "state_ratio": memory[name]["state_bytes"] / memory["full fine-tuning"]["state_bytes"],
        "saved_mb": memory[name]["saved_bytes"] / 1e6,
    }


def _redraw_ms(run: Run) -> float:
    """CPU time of drawing every mask once, the median of five."""
    if run.method is None:
        return float("nan")
    spent = []
    for episode in range(1, 6):
        start = time.process_time()
        for form in run.method.forms:
            form.plan.support(episode) if hasattr(form, "index") else form.plan.keep(episode)
        spent.append(time.process_time() - start)
    return 1e3 * sorted(spent)[2]


if __name__ == "__main__":
    main()
