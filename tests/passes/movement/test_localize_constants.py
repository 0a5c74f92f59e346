"""Bodies of control flow have their own constants."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from graphopt.ir import load
from graphopt.pipeline import PASSES, Context
from graphopt.verify import run

SOURCE = """<ir_version: 8, opset_import: ["": 17]> g (float[3] x, bool c) => (float[3] y)
    <float[3] w = {1, 2, 3}, float[3] only = {4, 5, 6}> {
        t = If (c) <
            then_branch = yes () => (float[3] a) { a = Mul (x, w) },
            else_branch = no () => (float[3] b) {
                b = If (c) < then_branch = p () => (float[3] q) { q = Identity (x) },
                             else_branch = r () => (float[3] s) { s = Add (x, only) } > } >
        y = Add (t, w) }"""


def outer_reads(graph: onnx.GraphProto) -> set[str]:
    own = (
        {v.name for v in graph.input} | {i.name for i in graph.initializer} | {o for n in graph.node for o in n.output}
    )
    inner = [a.g for n in graph.node for a in n.attribute if a.HasField("g")]
    return ({name for n in graph.node for name in n.input} | {n for g in inner for n in outer_reads(g)}) - own


def test_constants_move_into_the_bodies_and_those_that_nobody_else_reads_leave() -> None:
    from graphopt.ir import to_proto

    before, after = load(onnx.parser.parse_model(SOURCE)), load(onnx.parser.parse_model(SOURCE))
    result: Any = PASSES.find("localize-constants").load()().run(after, Context())
    assert result.rewrites == 2
    proto = to_proto(after)
    branch = next(n for n in proto.graph.node if n.op_type == "If")
    assert all(outer_reads(a.g) <= {"x", "c"} for a in branch.attribute)
    assert [i.name for i in proto.graph.initializer] == ["w"]
    for c in (True, False):
        sample = {"x": np.array([1, 2, 3], np.float32), "c": np.array(c)}
        assert np.array_equal(run(before, [sample])[0]["y"], run(after, [sample])[0]["y"])
