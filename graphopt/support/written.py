"""Probes that one node cannot be: control flow with a body, sequences and optionals made and read, random numbers.

Each is a graph in ONNX's own text form; the node asked about is the first of its operator. Graph inputs and outputs are
tensors, since a vendor that refuses a sequence at the door has said nothing of the operator. Random operators have
parameters that leave nothing to chance: a distribution of no width, a probability of 0 or 1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Final

from graphopt.support.case import Arg, opset_of, versions
from graphopt.support.probe import Probe, finish

if TYPE_CHECKING:
    import numpy as np
    import onnx

_IF: Final = """If (c) <
    then_branch = a () => (float[2,3] t) { t = Abs (x) }, else_branch = b () => (float[2,3] e) { e = Neg (x) }>"""
_TURN: Final = "body = b (int64 i, bool go, float[2,3] s) => (bool stay, float[2,3] t"

WRITTEN: Final[dict[str, dict[str, str]]] = {
    "If": {
        "base": f"(bool c, float[2,3] x) => (float[2,3] y) {{ y = {_IF} }}",
        "constant": f"(float[2,3] x) => (float[2,3] y) <bool c = {{1}}> {{ y = {_IF} }}",
        "shapes": """(bool c, float[2,3] x) => (float[n,3] y) {
            y = If (c) <
                then_branch = a () => (float[2,3] t) { t = Abs (x) },
                else_branch = b () => (float[1,3] e) { e = ReduceMax <axes = [0]> (x) }> }""",
        "vector": f"(bool[1] c, float[2,3] x) => (float[2,3] y) {{ y = {_IF} }}",
    },
    "Loop": {
        "base": f"""(float[2,3] x) => (float[2,3] y) <int64 m = {{3}}, bool c = {{1}}> {{
            y = Loop (m, c, x) <{_TURN}) {{ stay = Identity (go) t = Add (s, s) }}> }}""",
        "trips=computed": f"""(int64 m, float[2,3] x) => (float[2,3] y) <bool c = {{1}}> {{
            y = Loop (m, c, x) <{_TURN}) {{ stay = Identity (go) t = Add (s, s) }}> }}""",
        "no-condition": f"""(float[2,3] x) => (float[2,3] y) <int64 m = {{3}}> {{
            y = Loop (m, "", x) <{_TURN}) {{ stay = Identity (go) t = Add (s, s) }}> }}""",
        "while": f"""(float[2,3] x, float top) => (float[2,3] y) <bool c = {{1}}> {{
            y = Loop ("", c, x) <{_TURN}) {{ t = Add (s, s) u = Mul (t, t) m = ReduceSum <keepdims = 0> (u)
                                           stay = Less (m, top) }}> }}""",
        "collected": f"""(float[2,3] x) => (float[2,3] y, float[3,2,3] z) <int64 m = {{3}}, bool c = {{1}}> {{
            y, z = Loop (m, c, x) <{_TURN}, float[2,3] u) {{
                stay = Identity (go) t = Add (s, s) u = Identity (t) }}> }}""",
    },
    "Scan": {
        "base": """(float[3] i, float[4,3] x) => (float[3] y, float[4,3] z) {
            y, z = Scan <num_scan_inputs = 1,
                body = b (float[3] s, float[3] r) => (float[3] t, float[3] u) { t = Add (s, r) u = Identity (t) }>
                (i, x) }""",
        "backwards": """(float[3] i, float[4,3] x) => (float[3] y, float[4,3] z) {
            y, z = Scan <num_scan_inputs = 1, scan_input_directions = [1],
                body = b (float[3] s, float[3] r) => (float[3] t, float[3] u) { t = Add (s, r) u = Identity (t) }>
                (i, x) }""",
        "version-8": """(float[1,3] i, float[1,4,3] x) => (float[1,3] y, float[1,4,3] z) {
            y, z = Scan <num_scan_inputs = 1,
                body = b (float[3] s, float[3] r) => (float[3] t, float[3] u) { t = Add (s, r) u = Identity (t) }>
                ("", i, x) }""",
    },
    "SequenceConstruct": {
        "base": """(float[2,3] x) => (float[2,3] y) <int64 i = {1}> {
            a = Neg (x) s = SequenceConstruct (x, a) y = SequenceAt (s, i) }"""
    },
    "SequenceEmpty": {
        "base": """(float[2,3] x) => (float[2,3] y) <int64 i = {0}> {
            e = SequenceEmpty () s = SequenceInsert (e, x) y = SequenceAt (s, i) }"""
    },
    "SequenceInsert": {
        "base": """(float[2,3] x) => (float[2,3] y) <int64 i = {0}> {
            a = Neg (x) e = SequenceConstruct (x) s = SequenceInsert (e, a, i) y = SequenceAt (s, i) }"""
    },
    "SequenceErase": {
        "base": """(float[2,3] x) => (float[2,3] y) <int64 i = {0}> {
            a = Neg (x) e = SequenceConstruct (x, a) s = SequenceErase (e, i) y = SequenceAt (s, i) }"""
    },
    "SequenceAt": {
        "base": """(float[4,3] x) => (float[2,3] y) <int64 n = {2}, int64 i = {1}> {
            s = SplitToSequence <axis = 0> (x, n) y = SequenceAt (s, i) }""",
        "computed": """(float[4,3] x, int64 i) => (float[2,3] y) <int64 n = {2}> {
            s = SplitToSequence <axis = 0> (x, n) y = SequenceAt (s, i) }""",
    },
    "SequenceLength": {
        "base": "(float[4,3] x) => (int64 y) { s = SplitToSequence <axis = 0> (x) y = SequenceLength (s) }"
    },
    "SplitToSequence": {
        "base": """(float[4,3] x) => (float[4,3] y) <int64 n = {2}> {
            s = SplitToSequence <axis = 0> (x, n) y = ConcatFromSequence <axis = 0> (s) }""",
        "ones": """(float[4,3] x) => (float[4,3] y) {
            s = SplitToSequence <axis = 0, keepdims = 0> (x) y = ConcatFromSequence <axis = 0, new_axis = 1> (s) }""",
    },
    "ConcatFromSequence": {
        "base": """(float[2,3] x, float[2,3] z) => (float[4,3] y) {
            s = SequenceConstruct (x, z) y = ConcatFromSequence <axis = 0> (s) }""",
        "new_axis=1": """(float[2,3] x, float[2,3] z) => (float[2,2,3] y) {
            s = SequenceConstruct (x, z) y = ConcatFromSequence <axis = 0, new_axis = 1> (s) }""",
    },
    "SequenceMap": {
        "base": """(float[2,3] x, float[2,3] z) => (float[4,3] y) {
            s = SequenceConstruct (x, z)
            m = SequenceMap (s) <body = b (float[2,3] i) => (float[2,3] o) { o = Neg (i) }>
            y = ConcatFromSequence <axis = 0> (m) }"""
    },
    "Optional": {
        "base": "(float[2,3] x) => (float[2,3] y) { o = Optional (x) y = OptionalGetElement (o) }",
        "asked": "(float[2,3] x) => (bool y) { o = Optional (x) y = OptionalHasElement (o) }",
    },
    "OptionalGetElement": {
        "base": "(float[2,3] x) => (float[2,3] y) { o = Optional (x) y = OptionalGetElement (o) }",
        "tensor": "(float[2,3] x) => (float[2,3] y) { y = OptionalGetElement (x) }",
    },
    "OptionalHasElement": {
        "base": "(float[2,3] x) => (bool y) { o = Optional (x) y = OptionalHasElement (o) }",
        "tensor": "(float[2,3] x) => (bool y) { y = OptionalHasElement (x) }",
    },
    "Bernoulli": {
        "base": "(float[2,3] x) => (float[2,3] y) { s = Relu (x) p = Sign (s) y = Bernoulli (p) }",
        "dtype=bool": "(float[2,3] x) => (bool[2,3] y) { s = Relu (x) p = Sign (s) y = Bernoulli <dtype = 9> (p) }",
    },
    "Multinomial": {
        "base": """(float[1,3] x) => (int32[1,4] y) <float[1,3] p = {-1000, 0, -1000}, float n = {0}> {
            z = Mul (x, n) l = Add (z, p) y = Multinomial <sample_size = 4> (l) }"""
    },
    **{
        op: {
            "base": f"""(float[2,3] x) => (float[2,3] y) {{
                r = {op} <shape = [2, 3], {parameters}> () y = Mul (x, r) }}"""
        }
        for op, parameters in (
            ("RandomNormal", "mean = 2.0, scale = 0.000000001"),
            ("RandomUniform", "low = 2.0, high = 2.00000001"),
        )
    },
    **{
        op: {
            "base": f"(float[2,3] x) => (float[2,3] y) {{ r = {op} <{parameters}> (x) y = Mul (x, r) }}",
            "dtype=float16": f"""(float[2,3] x) => (float16[2,3] y) {{
                h = Cast <to = 10> (x) r = {op} <dtype = 10, {parameters}> (x) y = Mul (h, r) }}""",
        }
        for op, parameters in (
            ("RandomNormalLike", "mean = 2.0, scale = 0.000000001"),
            ("RandomUniformLike", "low = 2.0, high = 2.00000001"),
        )
    },
    "Constant": {
        "base": "(float[2,3] x) => (float[2,3] y) { c = Constant <value = float[3] {1, 2, 3}> () y = Add (x, c) }",
        "value_floats": """(float[2,3] x) => (float[2,3] y) {
            c = Constant <value_floats = [1.0, 2.0, 3.0]> () y = Add (x, c) }""",
    },
}
"""Graphs by operator and label."""


def written(ops: Collection[str] | None = None) -> Iterator[Probe]:
    """All written probes at all versions at which they are valid, or those of the operators in `ops`."""
    for op_type, graphs in WRITTEN.items():
        if ops is None or op_type in ops:
            for version in versions(op_type):
                for label, text in graphs.items():
                    probe = _probe(op_type, version, label, text)
                    if probe is not None:
                        yield probe


def _probe(op_type: str, version: int, label: str, text: str) -> Probe | None:
    import onnx

    opset = opset_of(op_type, version)
    assert opset is not None, "versions come from the probed opsets"
    name = f"{op_type}-{version}/{label}"
    graph = onnx.parser.parse_graph(f"probe {text}")
    next(node for node in graph.node if node.op_type == op_type).name = "op"
    proto = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8 if opset < 19 else 10
    )
    return finish(name, version, proto, dict(_inputs(graph, name)), core=True, dynamic=label == "shapes")


def _inputs(graph: onnx.GraphProto, name: str) -> Iterator[tuple[str, np.ndarray]]:
    import onnx

    for value in graph.input:
        kind: Any = value.type.tensor_type
        shape = tuple(dim.dim_value for dim in kind.shape.dim)
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
        given = Arg(shape, dtype, kind="index" if dtype == "int64" else "normal")
        yield value.name, given.array(f"{name}/{value.name}")
