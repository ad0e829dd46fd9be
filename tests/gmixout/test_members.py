"""Sub-networks: what was visited comes back bit for bit, and swapping leaves no trace."""

import itertools

import pytest
import torch

from gmixout import GMixout, Settings
from tests.gmixout.nets import DENSE, MASKED, assert_equal, batch, perceptron, run, train, weights

SETTINGS = [
    Settings(sparsity=0.6, resample_every=3),
    Settings(sparsity=0.6, resample_every=3, anchor="pretrained", rescale=False),
    Settings(sparsity=0.6, resample_every=3, anchor="latest", granularity="row"),
    Settings(sparsity=0.6, resample_every=3, ema_update="step", decay_to="anchor"),
    Settings(sparsity=0.6, resample_every=3, residual="carry"),
    Settings(sparsity=0.6, resample_every=3, count="bernoulli"),
    Settings.mixout(0.6, resample_every=3),
    Settings.random_mask(0.6),
]


def snapshot(method):
    """The weights the model computes with, and what trains densely."""
    return {
        "0": method.model[0].weight.detach().clone(),
        "2": method.model[2].weight.detach().clone(),
        **{name: p.detach().clone() for name, p in method._dense.items()},
    }


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("record", ["all", 2])
def test_visited_sub_networks_come_back_bit_for_bit(settings, record):
    method = GMixout(perceptron(), settings, masked=MASKED, dense=DENSE, record=record)
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-2)
    seen = {}

    def watch(*_):
        # After the optimiser's step and before the method's: what the next forward pass would see.
        twin_is_last = (method.steps_in_episode + 1) == settings.resample_every
        for form in method.forms:
            form.written(method.steps_in_episode)
        if twin_is_last or method.steps == 13:
            seen[method.episode] = snapshot(method)

    if settings.follows_steps:
        # Watching would move the running average twice, so only its last state is compared.
        watch = None
    else:
        optimizer.register_step_post_hook(watch)
    train(method, optimizer, 14)
    now = snapshot(method)
    members = method.members()
    assert members[-1].step == 14
    if record == "all":
        assert [m.episode for m in members] == list(range(method.visited))
    else:
        assert len(members) <= 2 * record + 1
    for member in members:
        with method.using(member):
            if watch is not None:
                assert_equal(snapshot(method), seen[member.episode])
        assert_equal(snapshot(method), now)


def test_a_limited_journal_stays_spread_over_the_run():
    method = run(Settings(sparsity=0.6, resample_every=1), steps=100, record=4)
    steps = [member.step for member in method.members()]
    assert 4 <= len(steps) <= 8
    gaps = {later - earlier for earlier, later in itertools.pairwise(steps)}
    assert len(gaps) == 1
    assert steps[0] <= 100 / 4
    assert steps[-1] >= 100 - 100 / 4


@pytest.mark.parametrize("settings", SETTINGS)
def test_fresh_members_mix_final_anchor_and_values(settings):
    method = run(settings, steps=14)
    now = snapshot(method)
    outputs = []
    for member in method.fresh(3):
        with method.using(member), torch.no_grad():
            weight = method.model[0].weight
            form = method.forms[0]
            anchor, student = form.anchor_weight(), form.student_weight()
            held = weight == anchor
            stretched = anchor + settings.scale * (student - anchor)
            torch.testing.assert_close(weight[~held], stretched[~held])
            outputs.append(method.model(batch(0)[0]))
    assert not torch.equal(outputs[0], outputs[1])
    assert_equal(snapshot(method), now)


def test_swaps_nest_and_survive_errors():
    method = run(Settings(sparsity=0.6, resample_every=3), steps=7, record="all")
    now = snapshot(method)
    first, second = method.members()[:2]
    with method.using(first):
        inside = snapshot(method)
        with method.using(second), method.reported():
            pass
        assert_equal(snapshot(method), inside)
    with pytest.raises(RuntimeError, match="boom"), method.using(first):
        raise RuntimeError("boom")
    assert_equal(snapshot(method), now)


@pytest.mark.parametrize(
    "settings", [*SETTINGS, Settings(resample_every=7), Settings(resample_every=7, report="anchor")]
)
def test_merge_leaves_the_reported_outputs_unchanged(settings):
    method = run(settings, steps=14)
    with method.reported(), torch.no_grad():
        before = method.model(batch(3)[0])
    assert torch.equal(method.merge()(batch(3)[0]), before)


def test_effective_report_at_an_episodes_end_is_the_last_trained_network():
    settings = Settings(sparsity=0.6, resample_every=7)
    ends, longer = run(settings, steps=14), Settings(sparsity=0.6, resample_every=7, report="anchor")
    member = run(settings, steps=14, record="all")
    with member.using(member.members()[-1]):
        last = snapshot(member)
    assert torch.equal(last["0"], weights(ends.merge())["0.weight"])
    assert not torch.equal(last["0"], weights(run(longer, steps=14).merge())["0.weight"])


def test_unremembered_members_are_refused():
    method = run(Settings(sparsity=0.6, resample_every=3), steps=14, record=1)
    from gmixout import Member

    missing = Member("visited", 0, 3)
    with pytest.raises(ValueError, match=r"episode 0 was not remembered \(record=1; remembered: .*record='all'"):
        with method.using(missing):
            pass
