"""The picture of the benchmark: every domain and every corruption."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from studies.benchmarks.benchmark import OOD, Benchmark
from studies.benchmarks.corruptions import CORRUPTIONS


def draw(benchmark: Benchmark, path: Path, severity: int = 4) -> None:
    """Draws one picture of each class per domain, and one picture under each corruption, to a PNG.

    Args:
        benchmark: ``digits`` or ``digits-longtail``.
        path: Where to write.
        severity: Severity of the corruptions shown, 1 to 5.
    """
    from matplotlib.figure import Figure

    columns = len(benchmark.classes)
    domains = {"sketch": "id_test", **{name.removeprefix(OOD): name for name in benchmark.ood_splits}}
    kinds = list(CORRUPTIONS)
    rows = -(-len(kinds) // columns)
    figure = Figure(figsize=(columns * 0.72 + 1.3, len(domains) * 0.72 + rows * 0.92 + 0.75), dpi=150)
    heights = [len(domains) * 0.72 + 0.3, rows * 0.92 + 0.45]
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=heights).flat

    axes = upper.subplots(len(domains), columns)
    upper.subplots_adjust(left=0.15, right=0.99, top=0.955, bottom=0.01, wspace=0.06, hspace=0.06)
    for row, (domain, name) in zip(axes, domains.items(), strict=True):
        split = benchmark.load(name)
        for label, ax in enumerate(row):
            ax.imshow(split.images[np.flatnonzero(split.labels == label)[3]])
        named = f"{domain}\n(fine-tuning)" if domain == "sketch" else domain
        row[0].set_ylabel(named, rotation=0, ha="right", va="center", fontsize=9)
    for printed, ax in zip(benchmark.classes, axes[0], strict=True):
        ax.set_title(printed, fontsize=9, pad=2)

    panels = lower.subplots(rows, columns)
    lower.subplots_adjust(left=0.15, right=0.99, top=0.90, bottom=0.0, wspace=0.06, hspace=0.15)
    for index, ax in enumerate(panels.flat):
        if index >= len(kinds):
            ax.axis("off")
            continue
        split = benchmark.load(f"corruption/{kinds[index]}/{severity}")
        ax.imshow(split.images[np.flatnonzero(split.labels == 3)[0]])
        ax.set_title(kinds[index].replace("_", "\n", 1), fontsize=6, pad=2, linespacing=0.9)
    panels[0, 0].set_ylabel(f"corruptions\n(severity {severity})", rotation=0, ha="right", va="center", fontsize=9)
    for ax in [*axes.flat, *panels.flat]:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
