"""Constants go where they are asked to be, and compute the same there."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import onnx_ir as ir

from graphopt.ir import to_proto

Apply = Callable[..., ir.Model]
SOURCE = """<ir_version: 9, opset_import: ["": 17]>
    g (float[2] x, float[2] w, bool p) => (float[2] y, float[2] out)
        <float[2] w = {1, 2}, float[2] out = {3, 4}, float[2] a = {5, 6}> {
        b = Constant <value_floats = [1.0, 2.0]> ()
        c = Add (x, a)  d = Mul (c, b)  e = Sub (d, w)
        y = If (p) <
            then_branch = t () => (q) { one = Constant <value_float = 1.0> () q = Add (e, one) },
            else_branch = f () => (r) { r = Add (e, a) }
        >
    }"""


def stored(model: ir.Model) -> tuple[int, int]:
    """Initializers and Constant nodes of all graphs."""
    nodes = [n for n in ir.traversal.RecursiveGraphIterator(model.graph) if n.op_type == "Constant"]
    return sum(len(graph.initializers) for graph in model.graphs()), len(nodes)


def test_constants_become_initializers_of_their_own_graphs(apply: Apply) -> None:
    after = apply("store-constants", SOURCE)
    assert stored(after) == (5, 0)
    onnx.checker.check_model(to_proto(after), full_check=True)


def test_initializers_become_nodes_unless_the_signature_needs_them(apply: Apply) -> None:
    after = apply("store-constants", SOURCE, place="nodes")
    assert stored(after) == (2, 3)
    assert set(after.graph.initializers) == {"w", "out"}
    onnx.checker.check_model(to_proto(after), full_check=True)
