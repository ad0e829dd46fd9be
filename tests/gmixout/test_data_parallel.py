"""`DistributedDataParallel`: what travels, what stays, and that all ranks stay one run."""

import contextlib
import copy

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from gmixout import GMixout, Settings
from gmixout.optimizer import AdamW
from gmixout.parallel import check_agreement, keep_local
from tests.gmixout.ranks import DENSE, MASKED, adam, batch, error_of, network, on_two_ranks, traffic, train

LIST = "_ddp_params_and_buffers_to_ignore"
STRUCTURES = [{"granularity": granularity} for granularity in ("element", "row", "column", "block")]


def attach(model, **changes):
    settings = Settings(**({"sparsity": 0.5, "resample_every": 2, "ema_decay": 0.5} | changes))
    return GMixout(model, settings, masked=MASKED, dense=DENSE)


def sent(model, optimizer, step):
    """Bytes of the gradients that one step sends; nothing else may travel."""
    wrapped, sizes = DistributedDataParallel(model), []

    def count(state, bucket):
        sizes.append(bucket.buffer().nbytes)
        return allreduce_hook(None, bucket)

    wrapped.register_comm_hook(None, count)

    def work():
        inputs, labels = batch(0, dist.get_rank())
        cross_entropy(wrapped(inputs), labels).backward()
        optimizer.step()
        step(optimizer)
        optimizer.zero_grad()

    # In its first steps DDP tells the ranks how it fills its buckets.
    work(), work(), sizes.clear()
    calls = traffic(work)
    assert calls == ["c10d::allreduce_"] * len(sizes), calls
    return sum(sizes)


def only_gradients_of_the_support_travel(rank):
    everything = network()
    plain = sent(everything, torch.optim.AdamW(everything.parameters()), lambda optimizer: None)
    assert plain == 4 * sum(parameter.numel() for parameter in everything.parameters()) == 67084
    dense = 4 * (64 * 3 + 3 + 64 + 128)
    for structure in STRUCTURES:
        # Every step ends with a redraw.
        method = attach(network(), resample_every=1, **structure)
        assert sent(method.model, adam(method), method.step) == 4 * 64 * 128 + dense
        assert 4 * method.counts().trained_per_episode == 4 * 64 * 128 + dense
    method = attach(network(), resample_every=1, sparsity=0.875, granularity="column")
    assert sent(method.model, adam(method), method.step) == 4 * 64 * 128 // 4 + dense
    method = attach(network(), resample_every=1, residual="carry", rescale=False)
    assert sent(method.model, adam(method), method.step) == plain


# Between them: every granularity, both forms, both averages, both moments, and the ways in which DDP hands gradients.
RUNS = [
    ({}, {}),
    ({"granularity": "row", "decay_to": "anchor"}, {"gradient_as_bucket_view": True}),
    ({"granularity": "column", "group_size": 2, "ema_update": "step", "moments": "carry"}, {"static_graph": True}),
    ({"granularity": "block"}, {"gradient_as_bucket_view": True, "static_graph": True}),
    ({"moments": "carry", "anchor": "latest"}, {"gradient_as_bucket_view": True}),
    ({"residual": "carry", "rescale": False}, {"gradient_as_bucket_view": True}),
    ({"residual": "carry", "anchor": "pretrained", "count": "bernoulli", "resample_every": 1}, {}),
]


def two_ranks_are_one_run_of_twice_the_batch(rank):
    for changes, options in RUNS:
        one, method = (attach(network(torch.float64), **changes) for _ in range(2))
        train(one.model, one, adam(one), 7, None)
        train(DistributedDataParallel(method.model, **options), method, adam(method), 7, rank)
        assert_same_run(method, one)


def accumulated_gradients_are_sent_once(rank):
    for view in (False, True):
        one, method = (attach(network(torch.float64)) for _ in range(2))
        wrapped = DistributedDataParallel(method.model, gradient_as_bucket_view=view)
        for run, model, ours in ((one, one.model, None), (method, wrapped, rank)):
            optimizer = adam(run)
            for step in range(10):
                inputs, labels = batch(step, ours, torch.float64)
                is_last = step % 2 == 1
                with wrapped.no_sync() if model is wrapped and not is_last else contextlib.nullcontext():
                    cross_entropy(model(inputs), labels).backward()
                if is_last:
                    optimizer.step()
                    run.step(optimizer)
                    optimizer.zero_grad()
        assert_same_run(method, one)


def assert_same_run(method, one):
    """Bit for bit between the ranks; to the rounding of sums in float64 with one process."""
    check_agreement(method)
    for form, alone in zip(method.forms, one.forms, strict=True):
        buffers = dict(form.named_buffers())
        for name, tensor in {**buffers, "weight": form.weight, "trained": form.trained}.items():
            both = [torch.empty_like(tensor, dtype=torch.float64) for _ in range(2)]
            dist.all_gather(both, tensor.detach().double())
            assert torch.equal(*both), f"{name} of {form.name}"
            expected = getattr(alone, name).detach()
            if tensor.is_floating_point():
                torch.testing.assert_close(tensor.detach(), expected, rtol=1e-9, atol=1e-9)
            else:
                assert torch.equal(tensor, expected), f"{name} of {form.name}"
    inputs, _ = batch(99, None, torch.float64)
    with method.reported() as ours, one.reported() as theirs, torch.no_grad():
        torch.testing.assert_close(ours(inputs), theirs(inputs), rtol=1e-8, atol=1e-8)


def halves_go_without_the_first_broadcast(rank):
    one, method = (attach(network(), storage="hilo") for _ in range(2))
    # It would write into values that have no storage.
    wrapped = DistributedDataParallel(method.model, init_sync=False)
    train(one.model, one, AdamW(one, lr=1e-3), 5, None)
    train(wrapped, method, AdamW(method, lr=1e-3), 5, rank)
    check_agreement(method)
    weights = zip(method.forms, one.forms, strict=True)
    assert all(torch.allclose(*(f.effective_weight() for f in pair), rtol=0, atol=1e-4) for pair in weights)


def only_the_models_own_buffers_are_broadcast(rank):
    layers = nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 64), nn.BatchNorm1d(64), nn.Linear(64, 3)
    norm = layers[3]
    method = attach(nn.Sequential(*layers))
    wrapped = DistributedDataParallel(method.model)
    train(wrapped, method, adam(method), 2, rank)
    norm.running_mean.fill_(float(rank))
    anchor = method.forms[0].anchor
    kept = anchor.copy_(anchor + rank).clone()
    wrapped(batch(9, rank)[0])
    # It was 0 on both ranks before this pass moved it by a tenth.
    assert norm.running_mean.abs().max() < 0.9
    assert torch.equal(anchor, kept)
    assert [len(buffer.view(-1)) for buffer in wrapped.modules_buffers] == [64, 64, 1]
    calls = traffic(lambda: wrapped(batch(9, rank)[0]))
    # One of each type.
    assert calls == ["c10d::broadcast_"] * 2, calls
    # A module around the model needs the list itself.
    inner = attach(network())
    outer = nn.Sequential(inner.model)
    keep_local(outer)
    train(DistributedDataParallel(outer), inner, adam(inner), 3, rank)
    check_agreement(inner)


def disagreement_is_named(rank):
    method = attach(network())
    check_agreement(method)
    check_agreement(method, dist.new_group([0, 1]))
    alone = dist.new_group([1])
    if rank == 1:
        check_agreement(method, alone)
        method.steps += 1
        method.forms[1].anchor[0, 0] += 1.0
    found = error_of(lambda: check_agreement(method))
    assert "rank 1 differs from rank 0 in steps (1, not 0), anchor of 2.weight; attach" in found
    other = attach(network(), seed=rank)
    assert "settings.seed (1, not 0), index of 0.weight" in error_of(lambda: check_agreement(other))
    unlike = network()
    with torch.no_grad():
        unlike[0].weight.add_(float(rank))
    assert "rank 1 differs from rank 0 in base weights" in error_of(lambda: check_agreement(attach(unlike)))


def test_on_two_ranks(tmp_path):
    on_two_ranks(
        tmp_path,
        only_gradients_of_the_support_travel,
        two_ranks_are_one_run_of_twice_the_batch,
        accumulated_gradients_are_sent_once,
        halves_go_without_the_first_broadcast,
        only_the_models_own_buffers_are_broadcast,
        disagreement_is_named,
    )


@pytest.mark.parametrize("before", [None, ["4.weight", "extra"]])
def test_merging_restores_the_list_of_ignored_buffers(before):
    model = network()
    if before is not None:
        setattr(model, LIST, list(before))
    method = attach(model)
    buffers = [
        f"{number}.parametrizations.weight.0.{name}" for number in (0, 2) for name in ("index", "anchor", "shadow")
    ]
    assert getattr(model, LIST) == (before or []) + buffers
    keep_local(model)
    assert getattr(model, LIST) == (before or []) + buffers
    assert getattr(copy.deepcopy(model), LIST) == (before or []) + buffers
    method.merge()
    assert getattr(model, LIST, None) == before


def test_every_name_of_a_tied_weight_is_ignored():
    model = network(hidden=64)
    model[2].weight = model[0].weight
    method = GMixout(model, Settings(ema_update="step"), masked=MASKED, dense=DENSE)
    assert {name.split(".")[0] for name in getattr(model, LIST)} == {"0", "2"}
    assert {name.split(".")[-1] for name in getattr(model, LIST)} == {"index", "anchor", "shadow"}
    method.merge()
    assert not hasattr(model, LIST)


def test_nothing_to_compare_without_a_process_group():
    check_agreement(attach(network()))
