"""Layers with compact weight gradients: equal to the routed ones, and never a dense gradient nor unneeded inputs."""

import copy
import gc

import pytest
import torch
from torch import nn
from torch.nn import functional

from gmixout import GMixout, Settings
from tests.gmixout.nets import assert_close, assert_equal, weights

STRUCTURES = [
    {"granularity": "row"},
    {"granularity": "column"},
    {"granularity": "column", "group_size": 16},
    {"granularity": "block"},
]


class Pointwise(nn.Module):
    """Linear layers and 1×1 convolutions of every dimension, wide enough for tiles."""

    def __init__(self, dtype=torch.float64, bias=True):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(64, 128, bias=bias), nn.Linear(128, 64)
        self.conv1, self.conv2 = nn.Conv1d(64, 128, 1), nn.Conv2d(128, 64, 1, bias=bias)
        self.conv3, self.head = nn.Conv3d(64, 64, 1), nn.Linear(64, 5)
        self.to(dtype)

    def forward(self, x):
        x = self.second(torch.tanh(self.first(x)))
        x = self.conv1(x.transpose(1, 2))
        x = torch.tanh(self.conv2(x[..., None]))
        x = self.conv3(x[..., None])
        return self.head(x.flatten(2).mean(2))


def attach(structure, compact=True, model=None, **changes):
    settings = Settings(**({"sparsity": 0.5, "resample_every": 2} | structure | changes))
    method = GMixout(model or Pointwise(), settings)
    if not compact:
        for module in method.model.modules():
            if "forward" in vars(type(module)) and hasattr(module, "parametrizations"):
                del type(module).forward
    return method


def gradients(method, inputs):
    inputs = inputs.clone().requires_grad_()
    method.model(inputs).square().sum().backward()
    return {"inputs": inputs.grad} | {name: p.grad for name, p in method.named_parameters()}


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("bias", [True, False])
def test_every_gradient_equals_the_routed_one(structure, bias):
    inputs = torch.randn(3, 7, 64, dtype=torch.float64)
    pair = [attach(structure, compact, Pointwise(bias=bias)) for compact in (True, False)]
    assert {name for name, _ in pair[0].named_parameters()} > {"first.weight", "conv2.weight", "conv3.weight"}
    assert_close(gradients(pair[0], inputs), gradients(pair[1], inputs))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_autocast_gradients_are_as_exact_as_the_routed_ones(structure):
    inputs = torch.randn(4, 9, 64)
    exact = gradients(attach(structure), inputs.double())
    with torch.autocast("cpu", torch.bfloat16):
        compact = gradients(attach(structure, model=Pointwise(torch.float32)), inputs)
        routed = gradients(attach(structure, False, Pointwise(torch.float32)), inputs)
    for name, value in exact.items():
        assert compact[name].dtype == routed[name].dtype == torch.float32
        allowed = 2 * max(float((routed[name].double() - value).abs().max()), 2**-8 * float(value.abs().max()))
        assert float((compact[name].double() - value).abs().max()) <= allowed, name


@pytest.mark.parametrize("structure", STRUCTURES)
def test_runs_end_alike_and_merge_to_plain_modules(structure):
    ends = []
    for compact in (True, False):
        method = attach(structure, compact, Pointwise(torch.float32))
        optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3)
        for step in range(6):
            generator = torch.Generator().manual_seed(step)
            method.model(torch.randn(3, 7, 64, generator=generator)).square().mean().backward()
            optimizer.step()
            method.step(optimizer)
            optimizer.zero_grad()
        model = method.merge()
        assert {type(module) for module in model.children()} == {nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d}
        ends.append(weights(model))
    # AdamW divides by the gradient's size, so rounding of nearly zero gradients shows in the step.
    assert_close(*ends, rtol=1e-3, atol=1e-5)


def test_columns_save_only_the_chosen_inputs():
    saved = {}
    for name, structure in {"column": {"granularity": "column"}, "element": {}}.items():
        method = GMixout(nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 2)), Settings(**structure))
        own = {t.untyped_storage().data_ptr() for t in [*method.model.parameters(), *method.model.buffers()]}
        inputs = torch.randn(1000, 64)
        sizes = []

        def pack(tensor, own=own, sizes=sizes):
            if tensor.untyped_storage().data_ptr() not in own:
                sizes.append(tensor.untyped_storage().nbytes())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            method.model(inputs)
        saved[name] = sum(sizes)
    assert saved["element"] == 3 * 1000 * 64 * 4
    assert saved["column"] == 3 * 1000 * 6 * 4


@pytest.mark.parametrize("structure", STRUCTURES)
def test_no_dense_gradient_is_ever_formed(structure):
    size = 320
    method = GMixout(
        nn.Sequential(nn.Linear(size, size), nn.Linear(size, 2)),
        Settings(sparsity=0.9, **structure),
        masked=r"^0\.weight",
    )
    largest = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            out = function(*arguments, **(options or {}))
            if isinstance(out, torch.Tensor) and out._base is None and out.is_contiguous():
                largest.append(out.numel())
            return out

    loss = method.model(torch.randn(4, size)).sum()
    gc.collect()
    with Watch():
        loss.backward()
    assert max(largest) < size * size // 4


@pytest.mark.parametrize("structure", STRUCTURES)
def test_compiles_as_one_graph_without_recompiling_at_a_redraw(structure):
    torch._dynamo.reset()
    plain, compiled = (attach(structure, model=Pointwise(torch.float32)) for _ in range(2))
    graphs = []

    def count_graphs(graph, inputs):
        graphs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    forward = torch.compile(compiled.model, fullgraph=True, backend=count_graphs)
    for method, call in ((plain, plain.model), (compiled, forward)):
        optimizer = torch.optim.SGD(method.parameters(), lr=0.01)
        for step in range(5):
            call(torch.full((2, 3, 64), 0.1 * step)).square().mean().backward()
            optimizer.step()
            method.step(optimizer)
            optimizer.zero_grad()
    assert len(graphs) == 1
    assert_close(weights(plain.merge()), weights(compiled.merge()))


def test_copies_members_and_swaps_use_the_right_weights():
    method = attach({"granularity": "column"}, model=Pointwise(torch.float32))
    twin = copy.deepcopy(method)
    inputs = torch.randn(2, 3, 64)
    before = method.model(inputs)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    twin.model(inputs).square().mean().backward()
    optimizer.step()
    twin.step(optimizer)
    assert torch.equal(method.model(inputs), before)
    with twin.reported():
        swapped = twin.model(inputs)
    assert not torch.equal(swapped, before)
    assert_equal({"output": twin.merge()(inputs)}, {"output": swapped})
    assert torch.equal(method.model(inputs), before)


def test_other_layers_and_wrapped_weights_take_the_general_path():
    class Scaled(nn.Linear):
        def forward(self, inputs):
            return functional.linear(inputs, 2 * self.weight, self.bias)

    model = nn.Sequential(Scaled(8, 8), nn.Conv1d(8, 8, 3), nn.Linear(8, 8), nn.Linear(8, 2))
    nn.utils.parametrizations.weight_norm(model[2])
    method = GMixout(model, Settings(sparsity=0.5, granularity="column"), masked=r"^[01]\.weight")
    assert not any("forward" in vars(type(module)) for module in method.model if hasattr(module, "parametrizations"))


def test_double_backward_is_refused():
    method = attach({"granularity": "row"})
    parameter = method.forms[0].trained
    (gradient,) = torch.autograd.grad(
        method.model(torch.randn(2, 3, 64, dtype=torch.float64)).square().sum(), parameter, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
