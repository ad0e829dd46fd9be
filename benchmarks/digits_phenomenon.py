"""Does fine-tuning on `digits` trade robustness for accuracy? Zero-shot, linear probe, full fine-tuning in plain torch.

Prints one row per method and learning rate: mean and standard error over seeds of the accuracy on ID validation, ID
test, the five OOD domains and the corruptions. The learning rate of each method is chosen on ID validation alone. Then
states whether the phenomenon holds: full fine-tuning gains at least 10 points of ID accuracy over zero-shot and loses
at least 5 points of OOD accuracy.

    python benchmarks/digits_phenomenon.py
    python benchmarks/digits_phenomenon.py --backbone digits-convnet --seeds 3 --steps 900
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from studies import backbones, benchmarks

COLUMNS = ("ID validation", "ID test", "OOD mean", "corruptions")
ID_GAIN, OOD_LOSS = 0.10, 0.05


def main() -> None:
    """Runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backbone", default="digits-vit", choices=sorted(backbones.BACKBONES))
    parser.add_argument("--pretrain-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3, help="fine-tuning runs per setting")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[3e-4, 1e-3, 3e-3])
    options = parser.parse_args()
    torch.set_num_threads(1)

    pretrained = backbones.load(options.backbone, options.pretrain_seed, _show)
    benchmark = benchmarks.load("digits")
    names = ("train", "id_val", "id_test", *benchmark.ood_splits, *benchmark.corruption_splits)
    splits = {name: _tensors(benchmark.load(name)) for name in names}
    zero_shot = evaluate(pretrained, splits)
    print(f"{options.backbone}, pretrain seed {options.pretrain_seed}; {options.steps} steps, {options.seeds} seeds")
    print(f"{'':34}" + "".join(f"{column:>16}" for column in COLUMNS))
    _row("zero-shot", zero_shot[None])

    chosen = {}
    for method in ("linear probe", "full"):
        results = {}
        for rate in options.learning_rates:
            began = time.monotonic()
            runs = [fine_tune(pretrained, splits, method, rate, options.steps, seed) for seed in range(options.seeds)]
            results[rate] = np.stack([evaluate(model, splits) for model in runs])
            spent = (time.monotonic() - began) / options.seeds
            _row(f"{method}, lr {rate:g} ({spent:.1f} s a run)", results[rate])
        best = max(results, key=lambda rate: results[rate][:, 0].mean())
        chosen[method] = results[best]
        _row(f"{method}, chosen: lr {best:g}", results[best])

    gain, loss = chosen["full"].mean(0)[1] - zero_shot[1], zero_shot[2] - chosen["full"].mean(0)[2]
    verdict = "holds" if gain >= ID_GAIN and loss >= OOD_LOSS else "does NOT hold"
    print(f"full fine-tuning: ID {100 * gain:+.1f} points, OOD {-100 * loss:+.1f} points; the phenomenon {verdict}")


def fine_tune(
    pretrained: nn.Module, splits: dict[str, tuple[Tensor, Tensor]], method: str, rate: float, steps: int, seed: int
) -> nn.Module:
    """AdamW, batch 16, cosine decay to 0; ``linear probe`` trains the head alone."""
    model = copy.deepcopy(pretrained).train()
    trained = model.get_submodule("head") if method == "linear probe" else model
    optimizer = torch.optim.AdamW(trained.parameters(), lr=rate, weight_decay=0.05)
    images, labels = splits["train"]
    generator = torch.Generator().manual_seed(seed)
    epochs = math.ceil(steps * 16 / (len(labels) // 16 * 16))
    order = torch.cat(
        [torch.randperm(len(labels), generator=generator)[: len(labels) // 16 * 16] for _ in range(epochs)]
    )
    for step, batch in enumerate(order.split(16)[:steps]):
        for group in optimizer.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss = functional.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@torch.no_grad()
def evaluate(model: nn.Module, splits: dict[str, tuple[Tensor, Tensor]]) -> np.ndarray:
    """Accuracy on ID validation, ID test, mean over OOD domains, mean over corruptions: shape ``(4,)``."""
    model.eval()

    def mean(prefix: str) -> float:
        parts = [
            (model(images).argmax(1) == labels).double().mean().item()
            for name, (images, labels) in splits.items()
            if name.startswith(prefix)
        ]
        return float(np.mean(parts))

    return np.array([mean("id_val"), mean("id_test"), mean("ood/"), mean("corruption/")])


def _tensors(split: benchmarks.Split) -> tuple[Tensor, Tensor]:
    pixels = np.ascontiguousarray(split.images.transpose(0, 3, 1, 2), dtype=np.float32) / 255
    return torch.from_numpy(pixels), torch.from_numpy(split.labels.copy())


def _row(name: str, runs: np.ndarray) -> None:
    mean = 100 * runs.mean(0)
    if len(runs) == 1:
        cells = [f"{value:.1f}" for value in mean]
    else:
        cells = [f"{m:.1f} ± {e:.1f}" for m, e in zip(mean, 100 * runs.std(0, ddof=1) / len(runs) ** 0.5, strict=True)]
    print(f"{name:34}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


def _show(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\rpretraining {done}/{total} images", end="\n" if done == total else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
