"""Recomputed activations on networks of the real classes: the same bits from fewer numbers kept."""

import pytest
import torch
from torch.nn import functional

from gmixout import GMixout, Settings
from studies import backbones
from studies.backbones import BACKBONES
from studies.recomputing import recompute
from tests.studies.backbones.conftest import TINY

CLASSES = ("cat", "dog", "ice cream")


@pytest.mark.parametrize("name", [*TINY, "digits-convnet"])
@pytest.mark.parametrize("is_masked", [False, True])
def test_same_bits_from_less(name, is_masked, images, monkeypatch):
    for tiny, declared in TINY.items():
        monkeypatch.setitem(BACKBONES, tiny, declared)
    model = backbones.blank(name, CLASSES) if name in TINY else BACKBONES[name].build()
    trained = dict(model.named_parameters())
    if is_masked:
        trained = dict(GMixout(model, Settings(sparsity=0.5)).named_parameters())

    weights = {value.untyped_storage().data_ptr() for value in model.parameters()}

    def work(is_on):
        held = []
        recompute(model, is_on)

        def pack(tensor):
            # Weights are there anyway.
            if tensor.untyped_storage().data_ptr() not in weights:
                held.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = functional.cross_entropy(model(images), torch.tensor([0, 1, 2]))
            found = torch.autograd.grad(loss, list(trained.values()))
        return found, sum(held)

    (plain, all_kept), (anew, kept), (again, _) = (work(is_on) for is_on in (False, True, False))
    assert all(torch.equal(*pair) for pair in zip(plain, anew, strict=True))
    assert all(torch.equal(*pair) for pair in zip(plain, again, strict=True))
    assert kept < all_kept
