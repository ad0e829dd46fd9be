"""`fully_shard`: ranks that hold parts of the weights train as one process would."""

import copy
import functools

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard

from gmixout import GMixout, Settings
from gmixout.optimizer import AdamW
from gmixout.parallel import check_agreement
from gmixout.sharded import full
from tests.gmixout.nets import assert_close, assert_equal, weights
from tests.gmixout.ranks import DENSE, MASKED, WORLD, adam, batch, error_of, network, on_two_ranks, traffic, train


def attach(dtype=torch.float64, model=None, record="none", **changes):
    settings = Settings(**({"sparsity": 0.5, "resample_every": 2, "ema_decay": 0.5} | changes))
    return GMixout(model or network(dtype), settings, masked=MASKED, dense=DENSE, record=record)


def shard(method, **options):
    """The first layer as a block of its own, the rest with the root."""
    options = {"mesh": init_device_mesh("cpu", (WORLD,))} | options
    fully_shard(method.model[0], **options)
    fully_shard(method.model, **options)
    return method


def step_both(method, optimizer):
    optimizer.step()
    method.step(optimizer)


def leaves(state, prefix=""):
    """The tensors of a nested state by their path."""
    if isinstance(state, torch.Tensor):
        return {prefix: state}
    pairs = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, (tuple, list)) else ()
    return {path: leaf for key, part in pairs for path, leaf in leaves(part, f"{prefix}.{key}").items()}


RUNS = [
    {},
    {"granularity": "column"},
    {"granularity": "column", "group_size": 2, "ema_update": "step", "moments": "carry"},
    {"moments": "carry", "anchor": "latest", "decay_to": "anchor"},
    {"ema_update": "step", "ema_bias_correction": True, "resample_every": 3},
    {"resample_every": float("inf"), "granularity": "column", "report": "student"},
]


def sharded_ranks_are_one_run_of_twice_the_batch(rank):
    for changes in RUNS:
        one, method = attach(**changes), shard(attach(**changes))
        optimizers = adam(one), adam(method)
        # Stops within an episode, at its end, and within the next one.
        assert set(traffic(functools.partial(method.model, batch(0, rank, torch.float64)[0])))
        for start, steps in ((0, 3), (3, 3), (6, 1)):
            train(one.model, one, optimizers[0], steps, None, start)
            train(method.model, method, optimizers[1], steps, rank, start)
            check_agreement(method)
            assert_close(leaves(full(method.state_dict())), leaves(one.state_dict()), rtol=1e-9, atol=1e-9)
            states = [leaves(full(optimizer.state_dict())) for optimizer in reversed(optimizers)]
            assert_close(*states, rtol=1e-8, atol=1e-9)
            inputs, _ = batch(99, None, torch.float64)
            with method.reported() as ours, one.reported() as theirs, torch.no_grad():
                assert_close({"outputs": ours(inputs)}, {"outputs": theirs(inputs)}, rtol=1e-8, atol=1e-8)
        for member in [*method.members(), *method.fresh(1)]:
            with method.using(member) as ours, one.using(member) as theirs, torch.no_grad():
                assert_close({"outputs": ours(inputs)}, {"outputs": theirs(inputs)}, rtol=1e-8, atol=1e-8)


class Mixed(nn.Module):
    """A convolution, a tied weight, and an attention that owns ``in_proj_weight``."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(16, 64, 2)
        self.linear, self.tied = nn.Linear(64, 64), nn.Linear(64, 64)
        self.tied.weight = self.linear.weight
        self.attention = nn.MultiheadAttention(64, 4, batch_first=True)
        self.head = nn.Linear(64, 3)

    def forward(self, inputs):
        tokens = self.convolution(inputs.view(-1, 16, 2, 2)).flatten(2).transpose(1, 2)
        tokens = self.tied(torch.tanh(self.linear(tokens)))
        return self.head(self.attention(tokens, tokens, tokens)[0].mean(1))


def other_layers_and_the_methods_own_optimizer(rank):
    for changes in ({}, {"granularity": "column"}):
        settings = Settings(sparsity=0.5, resample_every=2, **changes)
        one, method = (GMixout(Mixed().double(), settings) for _ in range(2))
        fully_shard(method.model, mesh=init_device_mesh("cpu", (WORLD,)))
        train(one.model, one, AdamW(one, lr=1e-2), 5, None)
        train(method.model, method, AdamW(method, lr=1e-2), 5, rank)
        assert_close(leaves(full(method.state_dict())), leaves(one.state_dict()), rtol=1e-8, atol=1e-9)
        assert method.describe() == one.describe()
        assert method.counts() == one.counts()


def every_rank_holds_its_rows_only(rank):
    for changes in ({}, {"granularity": "column", "ema_update": "step"}):
        method = shard(attach(**changes))
        optimizer = adam(method)
        train(method.model, method, optimizer, 3, rank)
        for form in method.forms:
            rows, kept = form.plan.shape[0], form.plan.kept_entries
            assert isinstance(form.weight, DTensor)
            assert form.weight.placements == form.trained.placements == (Shard(0),)
            assert len(form.weight.to_local()) == rows // WORLD
            assert form.anchor.numel() == form.trained.to_local().numel() == kept // WORLD
            moment = optimizer.state[form.trained]["exp_avg"]
            assert isinstance(moment, DTensor)
            assert moment.to_local().numel() == kept // WORLD
            anchors = full(form.state())["anchor"]
            assert torch.equal(form.support.gather(form.anchor_weight(), form.index), anchors)
            assert torch.equal(form.effective_weight(), form.weight.full_tensor())
        # The weights that attaching saw are let go of: only shards are left.
        assert all(isinstance(target.parameter, DTensor) for target in method._roles.masked + method._roles.dense)
        # Stepping, absorbing and redrawing send nothing.
        method.model(batch(0, rank, torch.float64)[0]).sum().backward()
        assert traffic(functools.partial(step_both, method, optimizer)) == []
        assert method.steps_in_episode == 0
        assert method.counts().trained_per_episode == attach(**changes).counts().trained_per_episode


def a_state_moves_between_sharded_and_whole_runs(rank):
    for changes in ({"moments": "carry"}, {"granularity": "column"}):
        method = shard(attach(**changes))
        optimizer = adam(method)
        train(method.model, method, optimizer, 5, rank)
        whole = full(method.state_dict())
        # Optimisers take over the tensors of a state that they load.
        moments = copy.deepcopy(optimizer.state_dict())
        one = attach(**changes)
        one.load_state_dict(whole)
        inputs, _ = batch(99, None, torch.float64)
        merged = one.merge()(inputs).detach()
        with method.reported() as reported, torch.no_grad():
            assert_close({"outputs": reported(inputs)}, {"outputs": merged}, rtol=1e-12, atol=1e-12)
        assert "cannot be merged in place" in error_of(method.merge)
        # Both a gathered and a split state resume: bit for bit with the optimiser's.
        for state in (whole, method.state_dict()):
            again = shard(attach(**changes))
            resumed = adam(again)
            again.load_state_dict(state)
            assert_equal(leaves(full(again.state_dict())), leaves(whole))
            resumed.load_state_dict(copy.deepcopy(moments))
            train(again.model, again, resumed, 3, rank, start=5)
            last = leaves(full(again.state_dict()))
        train(method.model, method, optimizer, 3, rank, start=5)
        assert_equal(leaves(full(method.state_dict())), last)


def half_precision_in_the_passes(rank):
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    method = shard(attach(torch.float32), mp_policy=policy)
    before = weights(network())["0.weight"]
    train(method.model, method, adam(method), 4, rank)
    state = leaves(full(method.state_dict()))
    assert all(leaf.dtype == torch.float32 and leaf.isfinite().all() for leaf in state.values())
    assert not torch.equal(state[".masked.0.weight.weight"], before)
    with method.reported() as model, torch.no_grad():
        assert model(batch(0, rank)[0]).dtype == torch.bfloat16


def what_cannot_be_sharded_is_named(rank):
    named = "fully_shard can train single entries and columns of evenly split weights: 0.weight"
    for changes, message in [
        ({"granularity": "row"}, f"{named} has granularity='row'; use DistributedDataParallel, or granularity="),
        ({"granularity": "block"}, f"{named} has granularity='block'"),
        ({"residual": "carry", "rescale": False}, f"{named} is kept in a DenseForm; use DistributedDataParallel"),
        ({"record": "all"}, "a sharded model cannot remember members, got record='all'; attach with record='none'"),
        ({"model": network(torch.float64, hidden=3)}, "0.weight has 1 segments for 2 ranks, which must divide them"),
    ]:
        method = shard(attach(**changes))
        # Building the optimiser stops already; one on all parameters of the model stops at the first step.
        assert message in error_of(method.parameters().__next__)
        optimizer = torch.optim.SGD([p for p in method.model.parameters() if p.requires_grad], lr=0.1)
        assert message in error_of(lambda method=method, optimizer=optimizer: method.step(optimizer))
        assert method.steps == 0
    columns = attach(model=network(torch.float64, hidden=3), granularity="column")
    assert "0.weight has 3 rows for 2 ranks" in error_of(lambda: list(shard(columns).parameters()))
    frozen = attach()
    fully_shard(frozen.model, mesh=init_device_mesh("cpu", (WORLD,)), ignored_params={frozen.forms[0].weight})
    assert "0.weight is not split, or its values are not" in error_of(lambda: list(frozen.parameters()))
    other = attach()
    shard(other, shard_placement_fn=lambda parameter: Shard(parameter.ndim - 1) if parameter.ndim > 1 else None)
    assert "use a mesh of one dimension and Shard(0)" in error_of(lambda: list(other.parameters()))
    late = network()
    fully_shard(late, mesh=init_device_mesh("cpu", (WORLD,)))
    assert "attach to the plain model, then call fully_shard" in error_of(lambda: attach(model=late))


def test_on_two_ranks(tmp_path):
    on_two_ranks(
        tmp_path,
        sharded_ranks_are_one_run_of_twice_the_batch,
        other_layers_and_the_methods_own_optimizer,
        every_rank_holds_its_rows_only,
        a_state_moves_between_sharded_and_whole_runs,
        half_precision_in_the_passes,
        what_cannot_be_sharded_is_named,
    )
