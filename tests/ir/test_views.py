"""The views for other libraries show the model as it is, and come back with nothing lost."""

from __future__ import annotations

import networkx as nx
import numpy as np
import onnx.parser
import pytest

from graphopt.ir import load, to_bytes, validate
from graphopt.ir.views import as_graphsurgeon, as_networkx, from_graphsurgeon
from graphopt.verify import compare, generate, run

MODEL = """
<ir_version: 8, opset_import: ["": 17], producer_name: "p", doc_string: "d", metadata_props: ["k": "v"]>
g (float[N, 4] x, float[N, 4] unused, bool c) => (float[N, 4] y) <float[4] w = {1, 2, 3, 4}> {
  [first] a = Relu(x)
  [second] b = Add(a, w)
  [branch] y = If(c) <
    then_branch = t () => (float[N, 4] u) { u = Mul(a, b) },
    else_branch = e () => (float[N, 4] v) { v = Identity(b) }
  >
}
"""


@pytest.fixture
def model():
    return load(onnx.parser.parse_model(MODEL))


def test_networkx_has_an_edge_for_each_read_also_out_of_a_body(model):
    view = as_networkx(model.graph)
    assert [node.name for node in view] == ["first", "second", "branch"]
    edges = {(a.name, b.name, data["value"].name, data["index"]) for a, b, data in view.edges(data=True)}
    assert edges == {
        ("first", "second", "a", 0), ("first", "branch", "a", None), ("second", "branch", "b", None),
    }  # fmt: skip
    assert nx.is_directed_acyclic_graph(view)


def test_changing_the_networkx_view_leaves_the_model(model):
    before = to_bytes(model)
    as_networkx(model.graph).clear()
    assert to_bytes(model) == before


def test_graphsurgeon_and_back_keeps_signature_metadata_and_outputs(model):
    back = from_graphsurgeon(as_graphsurgeon(model), model)
    for old, new in ((model.graph.inputs, back.graph.inputs), (model.graph.outputs, back.graph.outputs)):
        assert [(v.name, v.dtype, v.shape) for v in old] == [(v.name, v.dtype, v.shape) for v in new]
    assert (back.ir_version, back.producer_name, back.doc_string) == (8, "p", "d")
    assert dict(back.metadata_props) == {"k": "v"}
    samples = generate(model, dims={"N": 3})
    assert all(error.equal for error in compare(run(model, samples), run(back, samples)))


def test_a_change_made_in_graphsurgeon_comes_back(model):
    graph = as_graphsurgeon(model)
    next(node for node in graph.nodes if node.op == "Relu").op = "Neg"
    back = from_graphsurgeon(graph, model)
    sample = {"x": np.ones((1, 4), np.float32), "unused": np.zeros((1, 4), np.float32), "c": np.array(False)}
    assert next(iter(back.graph)).op_type == "Neg"
    np.testing.assert_array_equal(run(back, [sample])[0]["y"], [[0, 1, 2, 3]])


def test_an_input_with_a_default_is_still_an_input_after_graphsurgeon() -> None:
    source = """<ir_version: 8, opset_import: ["": 17]>
        g (float[2] x, float[2] w, float[2] unread) => (float[2] y) <float[2] w = {1, 2}, float[2] unread = {3, 4}>
        { y = Add (x, w) }"""
    before = load(onnx.parser.parse_model(source))
    after = from_graphsurgeon(as_graphsurgeon(before), before)
    assert [value.name for value in after.graph.inputs] == ["x", "w", "unread"]
    assert set(after.graph.initializers) == {"w", "unread"}
    validate(after)
