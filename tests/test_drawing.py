"""What the page draws, gathered from real models: graphs with shapes and work, and what a lossy run cost each layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnx import parser

import graphopt
from graphopt.drawing import draw, sized_like, worked
from graphopt.losses import histograms_of, layers_of
from graphopt.report.model import FileFacts, PassRecord

BRANCHES = """
<ir_version: 10, opset_import: ["": 20]>
main (float[n, 4] x, bool c) => (float[n, 4] y) <float[4, 4] w = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}> {
  m = MatMul(x, w)
  y = If <then_branch = one () => (float[n, 4] a) { a = Relu(m) },
          else_branch = other () => (float[n, 4] b) { k = Constant <value_float = 2.0> () b = Mul(m, k) }> (c)
}
"""
FACTS = FileFacts(path="m.onnx", sha256="", opset=20, nodes=4, parameters=16, bytes=1)


def model() -> ir.Model:
    return ir.from_proto(parser.parse_model(BRANCHES))


def fixed(rows: int) -> ir.Model:
    made = model()
    made.graph.inputs[0].shape = ir.Shape([rows, 4])
    return made


def test_bodies_lie_before_the_node_that_runs_them_and_constants_are_no_nodes() -> None:
    drawing = draw(model(), model())
    assert drawing is not None
    graph = drawing.before
    assert [node.op_type for node in graph.nodes] == ["MatMul", "Relu", "Mul", "If"]
    assert [node.body.partition(" of ")[0] for node in graph.nodes] == ["", "then_branch", "else_branch", ""]
    branch = graph.nodes[3]
    assert {graph.values[at].name for at in branch.reads} == {"a", "b"}
    made = [value for node in graph.nodes for value in node.outputs]
    assert set(branch.reads) <= set(made)


def test_weights_are_counted_at_the_node_that_reads_them() -> None:
    drawing = draw(model(), model())
    assert drawing is not None
    assert [(node.parameters, node.bytes) for node in drawing.before.nodes] == [(16, 64), (0, 0), (0, 0), (0, 0)]


def test_the_original_is_shown_with_the_sizes_of_the_optimized_model() -> None:
    before = model()
    assert worked(FACTS, before).macs is None
    before = sized_like(before, fixed(3))
    facts = worked(FACTS, before)
    assert facts.macs == 3 * 4 * 4
    assert facts.moved_bytes is not None
    drawing = draw(before, fixed(3))
    assert drawing is not None
    assert drawing.before.values[drawing.before.inputs[0]].shape == "3×4"


def test_a_size_that_contradicts_the_original_is_not_taken() -> None:
    before = fixed(5)
    before = sized_like(before, fixed(3))
    assert list(before.graph.inputs[0].shape or ()) == [5, 4]


def test_a_real_run_gathers_only_what_was_asked_for(demo_file: Callable[[str], Path]) -> None:
    plain = graphopt.optimize(demo_file("cls"), verify="off")
    assert plain.drawing is None
    assert plain.report.input.macs is None
    told = graphopt.optimize(demo_file("cls"), verify="off", dims={"x": (1, 3, 48, 192)}, details=True)
    assert told.drawing is not None
    assert len(told.drawing.before.nodes) == told.report.input.nodes
    assert len(told.drawing.after.nodes) == (told.report.output or told.report.input).nodes
    known = {node.name for node in told.drawing.before.nodes}
    assert {source for node in told.drawing.after.nodes for source in node.sources} <= known
    # Nothing dear is done for a run without lossy passes.
    assert told.report.layers == told.report.histograms == ()


QUANTIZED = """
<ir_version: 10, opset_import: ["": 20]>
main (float[2, 4] x) => (float[2, 4] y) <
  int8[4, 4] w = {100, 0, 0, 0, 0, 50, 0, 0, 0, 0, 25, 0, 0, 0, 0, 1}, float[4] s = {0.01, 0.02, 0.04, 1.0},
  int8[4] z = {0, 0, 0, 0}, float t = {0.05}, uint8 o = {128}> {
  d = DequantizeLinear <axis = 1> (w, s, z)
  m = MatMul(x, d)
  q = QuantizeLinear(m, t, o)
  y = DequantizeLinear(q, t, o)
}
"""
FLOAT = """
<ir_version: 10, opset_import: ["": 20]>
main (float[2, 4] x) => (float[2, 4] y) <float[4, 4] w = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}> {
  m = MatMul(x, w)
  y = Identity(m)
}
"""
LOSSY = PassRecord(
    name="quantize", source="graphopt", fidelity="lossy", rewrites=1, nodes_before=2, nodes_after=4, seconds=0.1,
    outcome="applied",
)  # fmt: skip


@pytest.fixture
def samples() -> list[dict[str, np.ndarray]]:
    return [{"x": np.random.default_rng(0).uniform(-9, 9, (2, 4)).astype(np.float32)}]


def test_layers_and_histograms_of_a_quantized_model_are_measured(samples: list[dict[str, np.ndarray]]) -> None:
    original, final = (ir.from_proto(parser.parse_model(text)) for text in (FLOAT, QUANTIZED))
    for one in (original, final):
        for node in one.graph:
            node.name = node.outputs[0].name
    layers = layers_of([LOSSY], original, final, samples)
    assert [layer.op_type for layer in layers] == ["MatMul"]
    weights, activations = histograms_of([LOSSY], original, final, layers, samples)
    assert (weights.kind, activations.kind) == ("weights", "activations")
    assert (sum(weights.counts), len(weights.counts)) == (16, 32)
    assert weights.codes == pytest.approx((-128.0, 127.0))  # the widest of the channels
    assert activations.codes == pytest.approx((-128 * 0.05, 127 * 0.05))
    assert sum(activations.counts) == 8


def test_what_a_pass_measured_itself_is_taken_at_its_word() -> None:
    rows = [{"name": "conv", "op_type": "Conv", "sqnr_db": 12.0, "note": "text"}]
    counted = {"conv": {"edges": [-1.0, 1.0], "counts": [3, 4], "scale": 0.1, "zero_point": -3}}
    told = replace(LOSSY, metrics={"layers": rows, "histograms": counted})
    layers = layers_of([told], model(), model(), [])
    assert [(layer.node, dict(layer.metrics)) for layer in layers] == [("conv", {"sqnr_db": 12.0})]
    (one,) = histograms_of([told], model(), model(), layers, [])
    assert one.codes == pytest.approx((-12.5, 13.0))


@pytest.mark.parametrize("strange", [54, "conv", [3], {"conv": 1}])
def test_metrics_of_another_form_are_left_alone(strange: object) -> None:
    told = replace(LOSSY, metrics={"layers": strange, "histograms": strange})
    assert layers_of([told], model(), model(), []) == ()
    assert histograms_of([told], model(), model(), (), []) == ()
