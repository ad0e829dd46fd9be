"""AdamW on the support: twenty steps of torch.optim.AdamW and the write, for every kind of support in one launch."""

import dataclasses

import numpy as np
import pytest
import torch

from gmixout import hilo, reference
from gmixout.kernels.adamw import adamw
from gmixout.kernels.support import write
from gmixout.kernels.tables import Table
from tests.gmixout.kernels.weights import DTYPES, GEOMETRIES, assert_as_close, drawn, entries_of, support_of

STEPS = 20
BETAS = (0.9, 0.98)
# Half precision holds no smaller one beside the gradients' squares.
EPS = 1e-4


def zero(shape, normal):
    return torch.zeros_like(normal(shape))


def with_steps(entries):
    return [dataclasses.replace(entry, step=torch.zeros(())) for entry in entries]


def gradients_of(dtype):
    random = torch.Generator().manual_seed(1)
    shapes = [geometry.shape for geometry in GEOMETRIES.values()]
    return [[torch.randn(shape, generator=random).to(dtype) for shape in shapes] for _ in range(STEPS)]


def effective(values, anchor, scale, is_residual):
    return reference.stretch(anchor + values if is_residual else values, anchor, scale)


def law(values, anchor, shadow, gradients, lr, weight_decay, scale, is_residual, follow, maximize):
    """Values, effective values and running average after all steps, in plain torch and the type of the values."""
    values = torch.nn.Parameter(values.clone())
    optimizer = torch.optim.AdamW(
        [values], lr=lr, betas=BETAS, eps=EPS, weight_decay=weight_decay, maximize=maximize, foreach=False
    )
    for gradient in gradients:
        values.grad = gradient.to(values.dtype)
        optimizer.step()
        e = effective(values.detach(), anchor, scale, is_residual)
        if follow is not None:
            shadow = reference.absorb(shadow, e, follow)
    return values.detach(), e, shadow


def exact_law(values, anchor, shadow, gradients, lr, weight_decay, scale, is_residual, follow, maximize):
    """`law` written out, in more digits than any type under test."""
    values, anchor, shadow = (tensor.double().numpy().astype(np.longdouble) for tensor in (values, anchor, shadow))
    m, s = np.zeros_like(values), np.zeros_like(values)
    for t, gradient in enumerate(gradients, start=1):
        g = gradient.double().numpy() * (-1 if maximize else 1)
        values = values - lr * weight_decay * values
        m = BETAS[0] * m + (1 - np.longdouble(BETAS[0])) * g
        s = BETAS[1] * s + (1 - np.longdouble(BETAS[1])) * g * g
        corrected = m / (1 - np.longdouble(BETAS[0]) ** t), s / (1 - np.longdouble(BETAS[1]) ** t)
        values = values - lr * corrected[0] / (np.sqrt(corrected[1]) + EPS)
        e = anchor + scale * ((anchor + values if is_residual else values) - anchor)
        shadow = shadow if follow is None else e + follow * (shadow - e)
    return tuple(torch.from_numpy(array.astype(np.float64)) for array in (values, e, shadow))


SETTINGS = [
    # lr, weight decay, scale, is residual, follow, maximize
    (0.003, 0.3, 2.5, True, 0.8, True),
    (0.01, 0.1, 10.0, False, None, False),
    (0.1, 0.0, 1.0, False, 0.5, False),
]


@pytest.mark.parametrize(
    ("dtype", "settings"),
    [
        *((dtype, SETTINGS[0]) for dtype in DTYPES[:2]),
        *(pytest.param(dtype, SETTINGS[0], marks=pytest.mark.slow) for dtype in DTYPES[2:]),
        *((DTYPES[0], s) for s in SETTINGS[1:]),
    ],
)
def test_twenty_steps(dtype, settings):
    entries = with_steps(entries_of(dtype, values=drawn, shadow=drawn, exp_avg=zero, exp_avg_sq=zero))
    before = [(entry.weight.clone(), entry.values.clone(), entry.shadow.clone()) for entry in entries]
    gradients = gradients_of(dtype)
    table = Table(entries, "cpu")
    lr, *others = settings
    for step in gradients:
        table.point("gradient", step)
        for entry in entries:
            entry.step.add_(1)
        adamw(table, lr, *BETAS, EPS, *others)
    for number, (entry, (weight, values, shadow)) in enumerate(zip(entries, before, strict=True)):
        own = [step[number] for step in gradients]
        plain = law(values, entry.anchor, shadow, own, *settings)
        exact = exact_law(values, entry.anchor, shadow, own, *settings)
        support = support_of(entry)
        got = entry.values, entry.weight.view(-1)[support].view(entry.geometry.shape), entry.shadow
        for name, *numbers in zip(("values", "weight", "shadow"), got, plain, exact, strict=True):
            assert_as_close(f"{name} of {entry.geometry}", *numbers)
        off = torch.ones(weight.numel(), dtype=torch.bool)
        off[support] = False
        assert torch.equal(entry.weight.view(-1)[off], weight.view(-1)[off])


def halves_law(weight, anchor, shadow, gradients, lr, weight_decay, scale, is_residual, follow, maximize):
    """The same without values: they are found anew from the weight in every step."""
    state: dict = {}
    for gradient in gradients:
        student = anchor + (weight - anchor) / scale
        values = torch.nn.Parameter(student - anchor if is_residual else student)
        optimizer = torch.optim.AdamW(
            [values], lr=lr, betas=BETAS, eps=EPS, weight_decay=weight_decay, maximize=maximize, foreach=False
        )
        optimizer.state[values] = state
        values.grad = gradient.to(values.dtype)
        optimizer.step()
        state = optimizer.state[values]
        student = anchor + values.detach() if is_residual else values.detach()
        weight = anchor + scale * (student - anchor)
        if follow is not None:
            shadow = reference.absorb(shadow, weight, follow)
    return weight, shadow


@pytest.mark.parametrize("settings", SETTINGS)
def test_twenty_steps_in_two_halves(settings):
    entries = with_steps(entries_of(anchor=drawn, shadow=drawn, exp_avg=zero, exp_avg_sq=zero))
    before = [(entry.weight.clone(), entry.shadow.clone()) for entry in entries]
    entries = [
        dataclasses.replace(entry, weight=hi, lo=lo)
        for entry, (hi, lo) in zip(entries, (hilo.split(entry.weight) for entry in entries), strict=True)
    ]
    gradients = gradients_of(torch.float32)
    table = Table(entries, "cpu")
    lr, *others = settings
    for step in gradients:
        table.point("gradient", step)
        for entry in entries:
            entry.step.add_(1)
        adamw(table, lr, *BETAS, EPS, *others)
    for number, (entry, (weight, shadow)) in enumerate(zip(entries, before, strict=True)):
        support = support_of(entry)
        own = [step[number] for step in gradients]
        start = weight.view(-1)[support].view(entry.geometry.shape)
        plain = halves_law(start, entry.anchor, shadow, own, *settings)
        exact = halves_law(start.double(), entry.anchor.double(), shadow.double(), own, *settings)
        joined = hilo.join(entry.weight, entry.lo).view(-1)
        assert_as_close("weight", joined[support].view(entry.geometry.shape), plain[0], exact[0])
        assert_as_close("shadow", entry.shadow, plain[1], exact[1])
        off = torch.ones(weight.numel(), dtype=torch.bool)
        off[support] = False
        hi, lo = hilo.split(weight)
        assert torch.equal(entry.weight.view(-1)[off], hi.view(-1)[off])
        assert torch.equal(entry.lo.view(-1)[off], lo.view(-1)[off])


def test_moments_and_gradients_must_be_named_first():
    table = Table(entries_of(values=drawn), "cpu")
    with pytest.raises(ValueError, match="exp_avg and no exp_avg_sq and no step and no gradient"):
        adamw(table, 0.1, *BETAS, EPS, 0.0, 1.0, False, None)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_weights_take_what_the_values_hold(dtype):
    entries = entries_of(dtype, values=drawn, exp_avg=zero, exp_avg_sq=zero, gradient=drawn)
    entries = [dataclasses.replace(entry, step=torch.ones(())) for entry in entries]
    table = Table(entries, "cpu")
    adamw(table, 0.01, *BETAS, EPS, 0.1, 10.0, False, None)
    stepped = [entry.weight.clone() for entry in entries]
    write(table, 10.0, False, None)
    for entry, weight in zip(entries, stepped, strict=True):
        assert torch.equal(entry.weight, weight)


def test_a_step_of_no_size_changes_nothing():
    entries = with_steps(
        entries_of(exp_avg=drawn, exp_avg_sq=lambda shape, normal: normal(shape).abs(), gradient=drawn)
    )
    entries = [
        dataclasses.replace(entry, weight=hi, lo=lo, step=torch.ones(()))
        for entry, (hi, lo) in zip(entries, (hilo.split(entry.weight) for entry in entries), strict=True)
    ]
    before = [(entry.weight.clone(), entry.lo.clone()) for entry in entries]
    adamw(Table(entries, "cpu"), 0.0, *BETAS, EPS, 0.1, 10.0, False, None)
    for entry, (hi, lo) in zip(entries, before, strict=True):
        assert torch.equal(entry.weight, hi)
        assert torch.equal(entry.lo, lo)
