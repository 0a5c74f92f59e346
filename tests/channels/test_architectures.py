"""Half of the work of any network can leave, whatever its family: the rest is valid, runs, and costs what is told."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from channel_architectures import FAMILIES
from channel_networks import analyzed, cut, removal, zeroed

from graphopt.channels.build import channel_graph, sizes
from graphopt.channels.cost import Ledger, mac_terms
from graphopt.channels.prune import Pruner, Request
from graphopt.pipeline.soundness import complaint_of, signature_of
from graphopt.verify import concrete_shapes, generate, run


def _macs(model: ir.Model) -> float:
    graph = channel_graph(model, sizes(model, concrete_shapes(model)))
    return Ledger(graph, mac_terms(model, graph)).total


@pytest.mark.parametrize("name", FAMILIES)
def test_half_of_the_work_leaves_any_network(name: str) -> None:
    model = FAMILIES[name](np.random.default_rng(0))
    before, signature, complaint = _macs(model), signature_of(model), complaint_of(model)
    outcome = Pruner(model, generate(model, samples=4)).prune(Request(0.5, criterion="l2"))
    assert abs(outcome.left - 0.5) <= 0.03  # in networks this small, a channel is up to a tenth
    assert _macs(outcome.model) == pytest.approx(outcome.after["macs"])
    assert outcome.before["macs"] == pytest.approx(before)
    assert complaint_of(outcome.model) == complaint
    assert signature_of(outcome.model) == signature
    assert outcome.score is not None


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_removed_is_what_is_zeroed(name: str) -> None:
    rng = np.random.default_rng(1)
    model = FAMILIES[name](rng)
    graph, found = analyzed(model)
    gone = removal(graph, [one for one in found if not one.mixed], rng)
    assert gone.any()
    silenced = zeroed(model, graph, gone)
    cut(model, graph, gone)
    samples = generate(model, samples=2)
    for want, got in zip(run(silenced, samples), run(model, samples), strict=True):
        for key, array in want.items():
            np.testing.assert_allclose(got[key], array, rtol=1e-3, atol=1e-3 * max(1.0, float(np.abs(array).max())))
