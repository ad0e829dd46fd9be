"""The check-up finds every kernel right here, and a wrong one wrong."""

import pytest
import torch

from gmixout.kernels import checkup, mixing, support


def test_every_kernel_is_right_here():
    findings = checkup.examine("cpu")
    assert [finding.kernel for finding in findings if not finding.is_right] == []
    assert {finding.kernel_ms for finding in findings} == {None}
    assert len(findings) >= 11


@pytest.mark.parametrize("name", ["coins", "mix", "gather"])
def test_a_wrong_kernel_is_found(name, monkeypatch):
    module = support if name == "gather" else mixing
    right = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *given, **named: torch.roll(right(*given, **named), 1))
    case = checkup.cases(torch.device("cpu"))[name]
    assert not checkup._judge(name, case, torch.device("cpu")).is_right
