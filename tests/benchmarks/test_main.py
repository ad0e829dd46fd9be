"""All questions at once: one that fails stops neither the others nor the figures."""

from benchmarks import __main__ as everything
from tests.benchmarks import made


class _Script:
    def __init__(self, result=None):
        self.SECONDS = {"quick": 1}
        self.result = result

    def main(self, arguments):
        if self.result is None:
            raise OSError("no room")
        question, table = self.result
        folder = arguments[arguments.index("--out") + 1]
        table.to_csv(f"{folder}/{question}-cpu.csv", index=False)


def test_a_question_that_fails(tmp_path, monkeypatch, capsys):
    measured = made.step_time({"full": 1.0, "row_10": 0.7, "column_10": 0.9})
    scripts = {"memory": _Script(), "step_time": _Script(("step_time", measured))}
    monkeypatch.setattr(everything, "QUESTIONS", scripts)
    assert everything.main(["--device", "cpu", "--quick", "--out", str(tmp_path), "--only", *scripts]) == 1
    said = capsys.readouterr().out
    assert "FAILED: memory (OSError)" in said
    assert "| step / full fine-tuning, row 10 % | ≤ 0.8 | 0.7 (0.693–0.707) | met |" in said
    assert (tmp_path / "figures" / "step_time-cpu-vit-b16-eager.png").exists()
