"""Figures of what later records keep: reliability by bins of confidence, the loss surface between a run's models."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Canvas

from analysis import theme
from analysis.barriers import barrier_errors
from analysis.calibration import calibration_error, reliability_curve
from analysis.figures import FIGURES, NothingToDraw
from analysis.intervals import t_interval
from analysis.records import PATHS, Records, metrics_frame
from analysis.selection import select
from tests.analysis.synthetic import fabricate

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)


@pytest.fixture(scope="module")
def few() -> Records:
    return fabricate(anchors=("ema",), periods=(10.0,), sparsities=(0.9,), learning_rates=(1e-3,))


def with_metrics(records: Records, rows: list[dict]) -> Records:
    metrics = pd.concat([records.metrics, metrics_frame(rows)], ignore_index=True)
    return Records(records.cells, metrics, records.examples, records.curves)


def chosen(records: Records) -> dict[str, tuple[str, ...]]:
    return select(records).set_index("method")["cells"].to_dict()


@pytest.fixture(scope="module")
def answers(few) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    found = {}
    for method, cells in chosen(few).items():
        for cell, split in ((cell, split) for cell in cells for split in ("id_test", "ood/real", "ood/clipart")):
            labels = rng.integers(5, size=300)
            logits = 1.5 * rng.normal(size=(300, 5)) + 2.0 * np.eye(5)[labels] * (method != "zero_shot")
            found[cell, split] = logits, labels
    return found


def binned(answers) -> list[dict]:
    rows = []
    for (cell, split), (logits, labels) in answers.items():
        for number, row in reliability_curve(logits, labels).iterrows():
            if row["examples"]:
                at = {"cell": cell, "weights": "reported", "split": split, "examples": int(row["examples"])}
                rows.append(at | {"metric": f"bin_confidence_{number:02d}", "value": row["confidence"]})
                rows.append(at | {"metric": f"bin_accuracy_{number:02d}_score", "value": row["accuracy"]})
    return rows


def test_reliability_pools_seeds_and_domains_as_all_their_examples(few, answers) -> None:
    frame = FIGURES["reliability"].table(with_metrics(few, binned(answers)))
    cells = chosen(few)["full"]
    for shift, splits in (("id", ["id_test"]), ("ood", ["ood/real", "ood/clipart"])):
        pooled = [answers[cell, split] for cell in cells for split in splits]
        logits, labels = (np.concatenate(part) for part in zip(*pooled))
        ours = frame[frame["shift"].eq(shift) & frame["method"].eq("full")].set_index("bin")
        assert ours["calibration_error"].iloc[0] == pytest.approx(calibration_error(logits, labels))
        expected = reliability_curve(logits, labels)
        for number, row in ours.iterrows():
            assert row["accuracy"] == pytest.approx(expected["accuracy"][number])
            assert row["examples"] == expected["examples"][number]
        assert ours["examples"].sum() == len(labels)
    draws_and_speaks("reliability", frame)


def test_surface_averages_a_runs_paths_before_runs(few) -> None:
    rows, heights = [], {}
    for method, cells in chosen(few).items():
        for cell in cells if method in ("full", "gmixout") else ():
            for path in PATHS:
                for member in (0, 1) if path == "path_members" else (-1,):
                    height = 0.1 * (len(heights) % 7)
                    heights[cell, path, member] = height
                    losses = [1.0 + height * 4 * alpha * (1 - alpha) for alpha in ALPHAS]
                    at = {"cell": cell, "weights": path, "member": member, "split": "id_test", "examples": 50}
                    rows += [at | {"alpha": alpha, "metric": "cross_entropy_error", "value": loss}
                             for alpha, loss in zip(ALPHAS, losses)]  # fmt: skip
                    rows += [at | {"metric": metric, "value": value}
                             for metric, value in barrier_errors(ALPHAS, losses, [0.5] * 5).items()]  # fmt: skip
    frame = FIGURES["loss_surface"].table(with_metrics(few, rows))
    ours = frame[frame["method"].eq("gmixout") & frame["path"].eq("path_members")]
    cells = chosen(few)["gmixout"]
    expected = np.mean([np.mean([heights[cell, "path_members", member] for member in (0, 1)]) for cell in cells])
    chord = ours[ours["metric"].eq("chord_barrier_error")]
    assert chord["value"].item() == pytest.approx(expected)
    assert chord["runs"].item() == len(cells)
    middle = ours[ours["metric"].eq("cross_entropy_error") & ours["alpha"].eq(0.5)]
    assert middle["value"].item() == pytest.approx(1.0 + expected)
    assert set(frame["path"]) == set(PATHS)
    draws_and_speaks("loss_surface", frame)


@pytest.mark.parametrize("name", ["reliability", "loss_surface", "bias_variance"])
def test_earlier_records_are_a_clear_reason(name: str, few) -> None:
    with pytest.raises(NothingToDraw, match="this figure needs"):
        FIGURES[name].table(few)


def draws_and_speaks(name: str, frame: pd.DataFrame) -> None:
    with theme.style():
        assert FIGURES[name].draw(frame, Canvas(figsize=FIGURES[name].size, layout="constrained"))
    words = FIGURES[name].caption(frame)
    assert "nan" not in words
    assert any(letter.isdigit() for letter in words)


def test_bias_and_variance_compare_levels_at_the_same_settings(small) -> None:
    """Along one lever at a time, levels beside the middle are held against the middle alone, not against other arms."""
    ours = small.cells.query("method == 'gmixout'")
    is_middle = {
        name: ours[name].eq(level) for name, level in (("anchor", "ema"), ("sparsity", 0.9), ("resample_every", 10.0))
    }
    away = 3 - sum(is_here.astype(int) for is_here in is_middle.values())
    star = small.keep(ours.loc[away.le(1).to_numpy(dtype=bool), "cell"])
    bias = {}
    rows = []
    for number, cell in enumerate(
        star.cells.drop_duplicates(["anchor", "resample_every", "sparsity"]).to_dict("records")
    ):
        levers = cell["anchor"], cell["resample_every"], cell["sparsity"]
        bias[levers] = 0.1 * (number + 1)
    for cell in star.cells.to_dict("records"):
        value = bias[cell["anchor"], cell["resample_every"], cell["sparsity"]]
        rows += [{"cell": cell["cell"], "weights": "members", "split": split, "metric": f"brier_{term}",
                  "value": number, "examples": 50} for split in ("id_test", "ood/real")
                 for term, number in (("bias", value), ("variance", 0.3), ("ensemble_error", value + 0.2))]  # fmt: skip
    frame = FIGURES["bias_variance"].table(with_metrics(star, rows))
    assert frame["settings"].eq(1).all()
    estimates = frame.query("part == 'bias' and shift == 'id'").set_index(["lever", "level"])["estimate"]
    assert estimates["sparsity", "0.5"] == pytest.approx(bias["ema", 10.0, 0.5])
    for lever, level in (("sparsity", "0.9"), ("anchor", "ema"), ("resample_every", "10")):
        assert estimates[lever, level] == pytest.approx(bias["ema", 10.0, 0.9])
    draws_and_speaks("bias_variance", frame)


def test_bias_and_variance_have_intervals_over_runs(small) -> None:
    ours = small.cells.query("method == 'gmixout'")
    rows = []
    for cell in ours.to_dict("records"):
        about = {"cell": cell["cell"], "split": "id_test", "examples": 50}
        for term, value, half in (("bias", 0.4, 0.02), ("variance", 0.1, 0.04), ("covariance", 0.08, 0.01),
                                  ("ensemble_error", 0.49, 0.02)):  # fmt: skip
            rows += [about | {"weights": "members", "metric": f"brier_{term}{end}", "value": value + sign * half}
                     for end, sign in (("", 0), ("_low", -1), ("_high", 1))]  # fmt: skip
        # What averaging weights costs differs from run to run.
        rows += [about | {"weights": weights, "metric": "brier_error", "value": value} for weights, value in
                 (("ensemble", 0.5), ("weight_average", 0.5 + 0.01 * (1 + cell["seed"])))]  # fmt: skip
    frame = FIGURES["bias_variance"].table(with_metrics(small, rows)).query("shift == 'id'").set_index("part")
    bias, locality = frame.loc["bias"].iloc[0], frame.loc["locality"].iloc[0]
    assert (bias["low"], bias["high"]) == (pytest.approx(0.38), pytest.approx(0.42))
    members = small.metrics.query("weights == 'member'")["member"].nunique()
    share = frame.loc["variance_share"].iloc[0]
    assert (share["low"], share["high"]) == (pytest.approx(0.06 / members), pytest.approx(0.14 / members))
    seeds = sorted(ours["seed"].unique())
    assert locality["estimate"] == pytest.approx(0.01 * (1 + sum(seeds) / len(seeds)))
    spread = [0.01 * (1 + seed) for seed in seeds]
    assert locality["high"] == pytest.approx(t_interval(spread).high)
