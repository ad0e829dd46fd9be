"""The method in anyone's loop: layers, dtypes, autocast, compile, accumulation, clipping, copies, memory, merging."""

import copy
import gc
import itertools
import logging
import math

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from gmixout import GMixout, Settings
from tests.gmixout.nets import DENSE, MASKED, assert_close, assert_equal, batch, perceptron, run, train, weights


class Zoo(nn.Module):
    """One of every kind of layer, with a tied weight and an attention that owns ``in_proj_weight``."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.embed = nn.Embedding(7, 8)
        self.conv1, self.conv2, self.conv3 = nn.Conv1d(8, 8, 3, padding=1), nn.Conv2d(1, 2, 3), nn.Conv3d(1, 2, 2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.up, self.tied = nn.Linear(8, 8), nn.Linear(8, 8)
        self.tied.weight = self.up.weight
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, tokens):
        x = self.embed(tokens)
        x = self.conv1(x.transpose(1, 2)).transpose(1, 2)
        x = x + self.conv2(x[:, None]).mean((1, 2, 3))[:, None, None]
        x = x + self.conv3(x[:, None, None].expand(-1, -1, 2, -1, -1)).mean((1, 2, 3, 4))[:, None, None]
        x = self.attention(x, x, x, need_weights=False)[0]
        return self.head(self.norm(self.tied(torch.tanh(self.up(x)))).mean(1))


TOKENS = torch.tensor([[0, 1, 2, 3, 4], [6, 5, 4, 3, 2]])
EVERY_FORM = [
    Settings(sparsity=0.5, resample_every=2),
    Settings(sparsity=0.5, resample_every=2, granularity="row"),
    Settings(sparsity=0.5, resample_every=2, granularity="column", group_size=2),
    Settings(sparsity=0.5, resample_every=2, granularity="block"),
    Settings(sparsity=0.5, resample_every=2, count="bernoulli"),
    Settings(sparsity=0.5, resample_every=2, residual="carry", anchor="average"),
    Settings(sparsity=0.5, resample_every=2, decay_to="anchor", ema_update="step", ema_bias_correction=True),
    Settings.mixout(0.5, decay_to="anchor"),
]


@pytest.mark.parametrize("settings", EVERY_FORM)
def test_every_kind_of_layer_trains_and_merges_to_a_plain_module(settings):
    model = Zoo()
    keys, ids = list(model.state_dict()), {name: id(p) for name, p in model.named_parameters()}
    before = weights(model)
    method = GMixout(model, settings)
    masked = {form.name for form in method.forms}
    assert masked == {
        "attention.in_proj_weight", "attention.out_proj.weight",
        "conv1.weight", "conv2.weight", "conv3.weight", "tied.weight",
    }  # fmt: skip
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-2)
    for _ in range(5):
        functional.cross_entropy(model(TOKENS), torch.tensor([0, 2])).backward()
        optimizer.step()
        method.step(optimizer)
        optimizer.zero_grad()
    with method.reported(), torch.no_grad():
        reported = {form.name: form.reported_weight() for form in method.forms}
        output = model(TOKENS)
    merged = method.merge()
    assert merged is model
    assert list(model.state_dict()) == keys
    assert {name: id(p) for name, p in model.named_parameters()} == ids
    assert model.tied.weight is model.up.weight
    assert all(type(module).__module__.startswith(("torch.nn.modules", __name__)) for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    after = weights(model)
    assert_equal({name: after[name] for name in reported}, reported)
    # Equal weights at other addresses may take another convolution kernel, hence rounding.
    torch.testing.assert_close(model(TOKENS), output)
    assert torch.equal(after["embed.weight"], before["embed.weight"])
    for name in masked | {"head.weight", "norm.bias"}:
        assert not torch.equal(after[name], before[name]), name


SPACE = {
    "anchor": ["pretrained", "ema", "average", "zero"],
    "residual": ["reset", "carry"],
    "granularity": ["element", "row", "column", "block"],
    "count": ["exact", "bernoulli"],
    "decay_to": ["zero", "anchor"],
}


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("update", ["episode", "step"])
def test_gradients_by_finite_differences_at_every_setting(rescale, update):
    """The gradient of what is trained, against central differences in float64, in the middle of a later episode."""
    inputs, labels = batch(0, torch.float64)
    for values in itertools.product(*SPACE.values()):
        point = dict(zip(SPACE, values, strict=True))
        if point["anchor"] == "zero" and point["residual"] == "reset":
            continue
        settings = Settings(**point, rescale=rescale, ema_update=update, sparsity=0.5, resample_every=2)
        method = run(settings, steps=3, dtype=torch.float64)

        def loss(method=method):
            for form in method.forms:
                form.written(1)
            return functional.cross_entropy(method.model(inputs), labels)

        parameters = [form.trained for form in method.forms]
        gradients = torch.autograd.grad(loss(), parameters)
        generator = torch.Generator().manual_seed(0)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            ends = []
            for sign in (1, -1):
                with torch.no_grad():
                    parameter.add_(direction, alpha=sign * 1e-6)
                    ends.append(loss().item())
                    parameter.sub_(direction, alpha=sign * 1e-6)
            difference = (ends[0] - ends[1]) / 2e-6
            assert difference == pytest.approx(float((gradient * direction).sum()), rel=1e-5, abs=1e-9), point


def test_held_entries_equal_the_anchor_and_kept_ones_move():
    method = run(Settings(sparsity=0.7, resample_every=10), steps=5)
    base = perceptron()
    for form in method.forms:
        keep = form.plan.keep(0)
        pretrained = base.get_parameter(form.name)
        assert torch.equal(form.weight[~keep], pretrained[~keep])
        assert (form.weight[keep] != pretrained[keep]).all()


def test_infinite_period_never_changes_the_mask():
    method = run(Settings.random_mask(0.5), steps=25)
    assert method.visited == 1
    for form in method.forms:
        assert torch.equal(form.index.long(), form.support.draw(0).long())


def test_anchor_follows_its_definition():
    """Φ ← λΦ + (1 - λ)W by hand, for λ per episode, per step, and both with bias correction."""
    for update, corrected in itertools.product(("episode", "step"), (False, True)):
        settings = Settings(
            ema_decay=0.8, ema_update=update, ema_bias_correction=corrected, resample_every=4, sparsity=0.5, seed=1
        )
        method = GMixout(perceptron(torch.float64), settings, masked=MASKED, dense=DENSE)
        pretrained = method.model[0].weight.detach().clone()
        seen = []
        form = method.forms[0]
        train(
            method, torch.optim.SGD(method.parameters(), lr=0.1), 8, dtype=torch.float64,
            after=lambda step, seen=seen, form=form: seen.append(form.effective_weight()),
        )  # fmt: skip
        anchor = pretrained
        if update == "episode":
            ends = [seen[3], seen[7]]
            if corrected:
                anchor = sum(0.2 * 0.8 ** (1 - i) * w for i, w in enumerate(ends)) / (1 - 0.8**2)
            else:
                for w in ends:
                    anchor = 0.8 * anchor + 0.2 * w
        else:
            for episode in (seen[:4], seen[4:]):
                mean = sum(0.2 * 0.8 ** (3 - i) * w for i, w in enumerate(episode))
                anchor = mean / (1 - 0.8**4) if corrected else 0.8**4 * anchor + mean
        torch.testing.assert_close(form.anchor_weight(), anchor)


def test_masks_ignore_the_order_of_parameters():
    class Swapped(nn.Sequential):
        def named_modules(self, *arguments, **options):
            return reversed(list(super().named_modules(*arguments, **options)))

    methods = [
        GMixout(kind(*perceptron()), Settings(sparsity=0.5), masked=MASKED, dense=DENSE)
        for kind in (nn.Sequential, Swapped)
    ]
    supports = [{form.name: form.index.tolist() for form in method.forms} for method in methods]
    assert list(supports[0]) != list(supports[1])
    assert supports[0] == supports[1]


def test_only_values_on_the_support_keep_gradients_and_state():
    method = GMixout(perceptron(), Settings(sparsity=0.9), masked=MASKED, dense=DENSE)
    optimizer = torch.optim.AdamW(method.parameters())
    train(method, optimizer, 2)
    method.model(batch(0)[0]).sum().backward()
    names = {id(value): name for name, value in method.named_parameters()}
    for parameter in method.model.parameters():
        if id(parameter) not in names:
            assert parameter.grad is None
    for form in method.forms:
        kept = form.plan.kept_entries
        assert form.trained.grad.numel() == kept
        assert optimizer.state[form.trained]["exp_avg"].numel() == kept


def test_sparse_memory_is_the_weight_and_little_else():
    layer = nn.Sequential(nn.Linear(256, 256, bias=False), nn.Linear(256, 2))
    method = GMixout(layer, Settings(sparsity=0.9), masked=r"^0", dense=r"^1")
    form = method.forms[0]
    train_bytes = sum(t.numel() * t.element_size() for t in [*form.parameters(), *form.buffers()])
    weight_bytes = form.weight.numel() * 4
    # Values, anchor and a 16-bit index on a tenth of the entries: 10 bytes for every 40 of the weight.
    assert train_bytes == pytest.approx(0.25 * weight_bytes, rel=0.01)


def test_at_most_one_dense_gradient_lives_at_a_time():
    size, layers = 300, 6
    model = nn.Sequential(*[nn.Linear(size, size, bias=False) for _ in range(layers)], nn.Linear(size, 2))
    method = GMixout(model, Settings(sparsity=0.95), masked=r"^[0-5]\.", dense=r"^6")
    alive = []

    def census(gradient):
        gc.collect()
        alive.append(sum(
            type(o) is torch.Tensor and o.shape == (size, size)
            and o.untyped_storage().data_ptr() not in weights_at for o in gc.get_objects()
        ))  # fmt: skip

    weights_at = {form.weight.untyped_storage().data_ptr() for form in method.forms}
    for form in method.forms:
        form.trained.register_hook(census)
    model(torch.randn(4, size)).sum().backward()
    assert len(alive) == layers
    assert max(alive) <= 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("residual", ["reset", "carry"])
def test_any_dtype(dtype, residual):
    # Plain SGD: the second moments of adaptive optimisers underflow in float16, with this method or without.
    sgd = lambda parameters: torch.optim.SGD(parameters, lr=0.01)  # noqa: E731
    method = run(Settings(sparsity=0.5, resample_every=2, residual=residual), 4, sgd, dtype=dtype)
    model = method.merge()
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("residual", ["reset", "carry"])
def test_autocast_keeps_full_precision_weights(residual):
    method = GMixout(perceptron(), Settings(sparsity=0.5, residual=residual), masked=MASKED, dense=DENSE)
    with torch.autocast("cpu", torch.bfloat16):
        output = method.model(batch(0)[0])
    assert output.dtype == torch.bfloat16
    output.float().sum().backward()
    assert {p.grad.dtype for p in method.parameters()} == {torch.float32}


@pytest.mark.parametrize("residual", ["reset", "carry"])
def test_gradient_accumulation_adds_up(residual):
    inputs, labels = batch(0)
    collected = []
    for pieces in (1, 4):
        method = GMixout(perceptron(), Settings(sparsity=0.5, residual=residual), masked=MASKED, dense=DENSE)
        for x, y in zip(inputs.chunk(pieces), labels.chunk(pieces), strict=True):
            (functional.cross_entropy(method.model(x), y) / pieces).backward()
        collected.append({name: p.grad for name, p in method.named_parameters()})
    assert_close(*collected)


def test_clipping_sees_the_trained_values():
    method = GMixout(perceptron(), Settings(sparsity=0.5), masked=MASKED, dense=DENSE)
    functional.cross_entropy(method.model(batch(0)[0]), batch(0)[1]).backward()
    norm = nn.utils.clip_grad_norm_(method.parameters(), 1e-3)
    assert norm > 1e-3
    clipped = torch.stack([p.grad.norm() for p in method.parameters()]).norm()
    assert float(clipped) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("settings", [Settings(sparsity=0.5, resample_every=2), Settings.mixout(0.5)])
def test_compiles_as_one_graph_without_recompiling_at_a_redraw(settings):
    torch._dynamo.reset()
    plain, compiled = (GMixout(perceptron(), settings, masked=MASKED, dense=DENSE) for _ in range(2))
    graphs = []

    def count_graphs(graph, inputs):
        graphs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    forward = torch.compile(compiled.model, fullgraph=True, backend=count_graphs)
    for method, call in ((plain, plain.model), (compiled, forward)):
        optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
        for step in range(6):
            functional.cross_entropy(call(batch(step)[0]), batch(step)[1]).backward()
            optimizer.step()
            method.step(optimizer)
            optimizer.zero_grad()
    assert len(graphs) == 1
    assert_close(weights(plain.merge()), weights(compiled.merge()))


@pytest.mark.parametrize("settings", [Settings(sparsity=0.5, resample_every=2), Settings.mixout(0.5)])
def test_deepcopy_of_model_and_method_part_ways(settings):
    method = run(settings, steps=3)
    model_copy = copy.deepcopy(method.model)
    method_copy = copy.deepcopy(method)
    before = weights(model_copy)
    assert torch.equal(model_copy(batch(0)[0]), method.model(batch(0)[0]))
    for twin in (method, method_copy):
        optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
        train(twin, optimizer, 5, start=3)
    assert_equal(weights(model_copy), before)
    assert method_copy.model is not method.model
    assert_equal(weights(method.merge()), weights(method_copy.merge()))


def test_parameter_groups_decay_matrices_only():
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, num_classes=5, depth=2)
    method = GMixout(model, Settings())
    assert {form.name.split(".", 2)[-1] for form in method.forms} == {
        "attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight",
    }  # fmt: skip
    decayed, plain = method.parameter_groups(weight_decay=0.1)
    assert decayed["weight_decay"] == 0.1
    assert plain["weight_decay"] == 0.0
    assert len(decayed["params"]) == 8 + 1
    assert all(p.ndim < 2 for p in plain["params"])
    assert not model.pos_embed.requires_grad
    assert not model.patch_embed.proj.weight.requires_grad


def test_decay_to_anchor_leaves_an_untrained_weight_where_it_is():
    for settings in (Settings(decay_to="anchor", sparsity=0.5), Settings.mixout(0.5, decay_to="anchor")):
        method = GMixout(perceptron(), settings, masked=MASKED, dense=DENSE)
        before = method.forms[0].effective_weight()
        optimizer = torch.optim.AdamW(method.parameters(), lr=0.1, weight_decay=0.5)
        for parameter in method.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        method.step(optimizer)
        torch.testing.assert_close(method.forms[0].effective_weight(), before, rtol=0, atol=0)


@pytest.mark.parametrize("moments", ["reset", "carry"])
@pytest.mark.parametrize("residual", ["reset", "carry"])
def test_moments_restart_or_carry_on_the_common_support(moments, residual):
    settings = Settings(sparsity=0.5, resample_every=3, residual=residual, moments=moments)
    method = GMixout(perceptron(), settings, masked=MASKED, dense=DENSE)
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-2)
    train(method, optimizer, 2)
    form = method.forms[0]
    state, old = optimizer.state[form.trained], None
    if residual == "reset":
        old = form.support.positions(form.index)
    pointer = state["exp_avg"].data_ptr()
    last = {}
    optimizer.register_step_post_hook(lambda *_: last.update(m=state["exp_avg"].clone()))
    train(method, optimizer, 1, start=2)
    assert state["exp_avg"].data_ptr() == pointer
    if moments == "reset":
        assert not state["exp_avg"].any()
        assert not state["exp_avg_sq"].any()
        assert float(state["step"]) == 0
        return
    assert float(state["step"]) == 3
    if residual == "carry":
        assert torch.equal(state["exp_avg"], last["m"])
        return
    dense = torch.zeros(form.plan.entries)
    dense[old.reshape(-1)] = last["m"].reshape(-1)
    assert torch.equal(state["exp_avg"], form.support.gather(dense.view(form.plan.shape), form.support.draw(1)))
    assert state["exp_avg"].any()


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
        lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
        lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
        lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
        lambda p: torch.optim.NAdam(p, lr=0.01),
        lambda p: torch.optim.Adagrad(p, lr=0.01),
        lambda p: torch.optim.Adadelta(p, lr=0.01),
        lambda p: torch.optim.Adamax(p, lr=0.01),
    ],
)
def test_any_torch_optimiser(optimizer):
    settings = Settings(sparsity=0.5, resample_every=2, moments="carry")
    assert all(p.isfinite().all() for p in run(settings, 5, optimizer).merge().parameters())


def test_counts_are_honest(caplog):
    method = run(Settings(sparsity=0.9, resample_every=4), steps=10)
    counts = method.counts()
    masks = [{form.name: form.plan.keep(episode) for form in method.forms} for episode in range(3)]
    touched = sum(int((masks[0][name] | masks[1][name] | masks[2][name]).sum()) for name in masks[0])
    assert (counts.masked, counts.dense, counts.total) == (12 * 16 + 16 * 10, 26 + 33, 352 + 59)
    assert counts.trained_per_episode == 19 + 16 + counts.dense
    assert counts.touched == touched + counts.dense
    assert counts.episodes == 3 == math.ceil(10 / 4)
    assert "0.weight" in method.describe()
    with caplog.at_level(logging.WARNING):
        run(Settings(sparsity=0.999), steps=1)
    assert "rounds to nothing kept in 2 tensors (0.weight, 2.weight): each keeps one unit" in caplog.text
    with caplog.at_level(logging.WARNING):
        run(Settings(sparsity=0.99, count="bernoulli"), steps=1)
    assert "coin flips keep nothing in an episode with a chance of up to 20.0% in 2 tensors" in caplog.text
