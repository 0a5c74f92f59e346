"""Least squares, segments and criteria: the parts of pruning that compute."""

from __future__ import annotations

import numpy as np
import pytest
from channel_networks import Net
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.channels.fit import Sums, fit
from graphopt.channels.layers import layer_of
from graphopt.channels.prune import Pruner, Request
from graphopt.channels.segments import Stepper, held_bytes
from graphopt.channels.windows import rows
from graphopt.verify import generate, run


def test_the_fit_finds_the_weights_that_made_the_outputs() -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3))
    x = rng.standard_normal((2, 500, 4))
    y = np.einsum("goi,gri->gro", weight, x) + bias[:, None]
    sums = [Sums(2, 3, 4) for _ in range(2)]
    sums[0].add(x[:, :400], y[:, :400])
    sums[1].add(x[:, 400:], y[:, 400:])
    new, shift = fit(*sums, weight + 0.3 * rng.standard_normal(weight.shape), np.zeros((2, 3)))
    assert np.allclose(new, weight, atol=5e-3)
    assert shift is not None
    assert np.allclose(shift, bias, atol=5e-3)


def test_a_fit_that_does_not_help_on_held_out_rows_is_not_made() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((1, 2, 30))
    sums = [Sums(1, 2, 30) for _ in range(2)]
    for one, count in zip(sums, (5, 200), strict=True):
        x = rng.standard_normal((1, count, 30))
        noise = rng.standard_normal((1, count, 2))
        one.add(x, np.einsum("goi,gri->gro", weight, x) + noise)
    new, shift = fit(*sums, weight, None)
    assert shift is None
    assert np.abs(new - weight).max() < 0.5


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**16), group=st.sampled_from([1, 2, 4]), kernel=st.integers(1, 3), stride=st.integers(1, 2),
    dilation=st.integers(1, 2), same=st.booleans(),
)  # fmt: skip
def test_patches_times_weights_are_the_convolution(
    seed: int, group: int, kernel: int, stride: int, dilation: int, same: bool
) -> None:
    rng = np.random.default_rng(seed)
    dilation = 1 if same else dilation  # onnxruntime takes no dilations with auto_pad
    g = Net(rng, 2, 4, 7, 8)
    place = {"auto_pad": "SAME_UPPER"} if same else {"pads": [1, 0, 2, 1]}
    w = g.weight(8, 4 // group, kernel, kernel)
    y = g("Conv", "x", w, group=group, strides=[stride] * 2, dilations=[dilation] * 2, **place)
    model = g.model(y)
    (sample,) = generate(model, samples=1, seed=seed)
    wanted = run(model, [sample])[0][y]
    layer = layer_of(model.graph[-1])
    assert layer is not None
    given_rows, made = rows(layer, sample["x"], wanted, 10_000, rng)
    matrix = layer.matrix().reshape(group, 8 // group, -1)
    np.testing.assert_allclose(np.einsum("goi,gri->gro", matrix, given_rows), made, rtol=1e-3, atol=1e-3)


def test_a_stepper_runs_piece_by_piece_what_the_model_computes_at_once() -> None:
    g = Net(np.random.default_rng(0), 1, 3, 5, 5)
    a = g("Relu", g.conv("x", 3, 6))
    model = g.model(g("Add", a, g.conv(g.conv(a, 6, 6), 6, 6)))
    samples = generate(model, samples=3)
    stepper = Stepper(model, samples)
    for node in model.graph:
        stepper.run_to(node)
    stepper.run_to(None)
    out = model.graph.outputs[0]
    for got, want in zip(stepper.values(out), run(model, samples), strict=True):
        assert np.array_equal(got, want[out.name])
    assert not stepper.has(model.graph[0].outputs[0])


def test_what_a_stepper_holds_is_foretold() -> None:
    g = Net(np.random.default_rng(0), 1, 3, 5, 5)
    a = g("Relu", g.conv("x", 3, 6))
    model = g.model(g("Add", a, g("Relu", g.conv(a, 6, 6))))
    graph = Pruner(model, generate(model, samples=1)).graph
    # The shortcut, and the input and the output of the second Relu.
    assert held_bytes(model, graph.shapes) == 3 * 4 * 6 * 5 * 5


def test_what_others_make_up_for_leaves_first() -> None:
    # Channels 0 and 1 are the same but for a factor, channel 2 is read hardly, channel 3 alone matters.
    rng = np.random.default_rng(0)
    g = Net(rng, 64, 4)
    first = rng.standard_normal((4, 4)).astype(np.float32)
    first[:, 1] = 0.9 * first[:, 0]
    second = np.array([[1.0], [1.0], [0.2], [1.0]], np.float32)
    y = g("MatMul", "x", g.constant(first))
    model = g.model(g("MatMul", y, g.constant(second)))
    pruner = Pruner(model, generate(model, samples=4))
    (ranking,) = pruner.rankings("obs", ())
    assert set(ranking.order[:2].tolist()) <= {0, 1, 2}
    assert not {0, 1} <= set(ranking.order[:2].tolist())
    assert ranking.costs[1] < 1e-2
    assert np.all(np.diff(ranking.costs) >= 0)


@pytest.mark.parametrize("criterion", ["l1", "l2", "fpgm", "bn", "activation", "obs"])
def test_every_criterion_ranks_all_units_and_dead_channels_first(criterion: str) -> None:
    rng = np.random.default_rng(1)
    g = Net(rng, 1, 3, 6, 6)
    weight = rng.standard_normal((5, 3, 3, 3)).astype(np.float32)
    weight[2] = 0
    scale = np.array([1, 1, 0, 1, 1], np.float32)
    y = g("Conv", "x", g.constant(weight), pads=[1] * 4)
    zero = g.constant(np.zeros(5, np.float32))
    y = g("BatchNormalization", y, g.constant(scale), zero, zero, g.positive(5))
    model = g.model(g.conv(g("Relu", y), 5, 2))
    pruner = Pruner(model, generate(model, samples=4))
    (ranking,) = pruner.rankings(criterion, ())  # type: ignore[arg-type]
    assert sorted(ranking.order.tolist()) == [0, 1, 2, 3, 4]
    if criterion != "fpgm":
        assert ranking.order[0] == 2


def test_recovery_brings_redundant_channels_back_wholly() -> None:
    # Twelve channels that are mixtures of four: four of them suffice, whatever is removed.
    rng = np.random.default_rng(2)
    g = Net(rng, 32, 6)
    mixed = rng.standard_normal((6, 4)) @ rng.standard_normal((4, 12))
    y = g("MatMul", "x", g.constant(mixed.astype(np.float32)))
    model = g.model(g("Gemm", y, g.weight(12, 3), g.weight(3)))
    outcome = Pruner(model, generate(model, samples=12)).prune(Request(0.5, criterion="l2"))
    assert outcome.unfitted is not None
    assert outcome.unfitted.sqnr < 20
    assert outcome.score is not None
    assert outcome.score.sqnr > 25
    assert outcome.fitted


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_layers_take_over_the_inputs_that_leave(op: str, gates: int) -> None:
    # Six channels that are mixtures of two, so that the four that stay hold the others.
    rng = np.random.default_rng(4)
    g = Net(rng, 16, 4, 2)
    y = g.linear("x", 2, 6)
    bias = g.constant(np.zeros((1, 2 * gates * 5), np.float32))
    out = g(op, y, g.weight(1, gates * 5, 6), g.weight(1, gates * 5, 5), bias, hidden_size=5)
    model = g.model(g.linear(g("Squeeze", out, g.constant([1])), 5, 2))
    samples = generate(model, samples=8)
    exclude = ("n2",)
    errors = {}
    for recovery in (False, True):
        outcome = Pruner(model, samples).prune(
            Request(0.8, measure="channels", criterion="l2", exclude=exclude, recovery=recovery)
        )
        assert [(one.kind, one.before) for one in outcome.removed] == [("MatMul", 6)]
        assert outcome.score is not None
        errors[recovery] = outcome.score.sqnr
    assert errors[True] > errors[False] + 10


def test_ranking_is_deterministic() -> None:
    def made() -> list[list[int]]:
        g = Net(np.random.default_rng(3), 1, 3, 6, 6)
        model = g.model(g.conv(g("Relu", g.conv("x", 3, 16, 3)), 16, 4))
        pruner = Pruner(model, generate(model, samples=4))
        return [one.order.tolist() for one in pruner.rankings("obs", ())]

    assert made() == made()
