"""A pruned network computes what the original computes with the weights of the removed channels at zero, exactly."""

from __future__ import annotations

import numpy as np
import pytest
from channel_couplings import CASES
from channel_networks import Net, analyzed, cut, removal, zeroed
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.channels.groups import Classes
from graphopt.pipeline.soundness import complaint_of
from graphopt.verify import generate, run


@pytest.mark.parametrize("name", CASES)
def test_every_coupling_is_found(name: str) -> None:
    build, units = CASES[name]
    _, found = analyzed(build(np.random.default_rng(0)))
    assert sorted(len(family.units) for family in found if not family.mixed) == units


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_removed_channels_are_zeroed_channels(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = CASES[name][0](rng)
    graph, found = analyzed(model)
    gone = removal(graph, [family for family in found if not family.mixed], rng)
    expected_of, complaint = zeroed(model, graph, gone), complaint_of(model)
    cut(model, graph, gone)
    assert complaint_of(model) == complaint
    samples = generate(model, samples=2, seed=seed)
    for want, got in zip(run(expected_of, samples), run(model, samples), strict=True):
        for key, array in want.items():
            np.testing.assert_allclose(got[key], array, rtol=2e-4, atol=2e-4)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_what_is_normalized_together_still_runs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    g = Net(rng, 2, 4, 6)
    y = g("LayerNormalization", g.linear("x", 6, 8), g.weight(8), g.weight(8))
    model = g.model(g.linear(y, 8, 3))
    graph, found = analyzed(model)
    assert [(len(family.units), family.mixed) for family in found] == [(8, True)]
    cut(model, graph, removal(graph, found, rng))
    assert complaint_of(model) is None
    run(model, generate(model, samples=1))


def test_interfaces_and_unknown_operators_pin_what_they_touch() -> None:
    g = Net(np.random.default_rng(0), 1, 3, 4, 4)
    y = g.conv("x", 3, 6)
    g("Odd", y, domain="somebody")
    model = g.model(g.conv(y, 6, 2))
    graph, found = analyzed(model)
    assert found == []
    reasons = {pin.reason for pin in graph.pins}
    assert "nothing is known of the operator Odd" in reasons
    assert "it is an output of the model" in reasons


def test_a_size_that_numbers_are_computed_from_stays() -> None:
    g = Net(np.random.default_rng(0), 1, 3)
    y = g.linear("x", 3, 6)
    size = g("Cast", g("Gather", g("Shape", y), g.constant(np.int64(1))), to=1)
    model = g.model(g.linear(g("Div", y, size), 6, 2))
    assert analyzed(model)[1] == []


def test_a_union_of_units_keeps_every_relation() -> None:
    build, _ = CASES["attention"]
    graph, found = analyzed(build(np.random.default_rng(0)))
    classes = Classes(graph)
    gone = np.zeros(graph.count, bool)
    for family in found:
        gone[family.units[0].cells] = True
    for whole, factors in classes.products:
        state = np.zeros(classes.count, bool)
        state[classes.of[gone]] = True
        assert np.array_equal(state[whole], state[factors].any(axis=0))
