"""Outputs that a node leaves out have no name, and what replaces the node must not take that over."""

from __future__ import annotations

import numpy as np
from onnx import helper

from graphopt.ir import load, to_proto
from graphopt.pipeline import PASSES, Context
from graphopt.verify import compare, holds, run


def test_what_replaces_a_node_keeps_its_own_names_where_outputs_are_left_out() -> None:
    node = helper.make_node(
        "SkipLayerNormalization", ["x", "s", "g"], ["y", "", "", "sum"], domain="com.microsoft", epsilon=1e-5
    )
    values = [helper.make_tensor_value_info(name, 1, [1, 3, 4]) for name in ("x", "s", "y", "sum")]
    graph = helper.make_graph(
        [node], "g", values[:2], values[2:], [helper.make_tensor("g", 1, [4], [1.0, 2.0, 3.0, 4.0])]
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    after = load(proto)
    PASSES.find("decompose-skip-layer-norm").load()().run(after, Context())
    assert all(made.output[0] for made in to_proto(after).graph.node)
    random = np.random.default_rng(0)
    samples = [{name: random.normal(size=(1, 3, 4)).astype(np.float32) for name in ("x", "s")}]
    ok, reason = holds("rounding", compare(run(load(proto), samples), run(after, samples)))
    assert ok, reason
