"""Loops and Scans that run a known number of times are written out, and compute the same bits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Same = Callable[..., list[str]]
HEADER = '<ir_version: 9, opset_import: ["": 17]>\n'
X = [{"x": np.array([-1.5, 0.0, 2.0, np.nan], np.float32)}]
LOOP = """
    g (float[4] x) => (float[4] y, float[M, 4] s) <int64 m = {%d}, bool go = {%d}> {
        y, s = Loop (m, go, x) <body = b (int64 i, bool c, float[4] h) => (bool d, float[4] k, float[4] z) {
            d = Identity (c)  f = Cast <to = 1> (i)  z = Add (h, f)  k = Mul (z, x)
        }>
    }"""


@pytest.mark.parametrize("turns", [1, 2, 5])
def test_a_given_number_of_turns_with_scanned_outputs(same: Same, turns: int) -> None:
    left = same("unroll-loops", HEADER + LOOP % (turns, 1), X)
    assert "Loop" not in left
    assert left.count("Mul") == turns


@pytest.mark.parametrize(("turns", "go"), [(0, 1), (-3, 1), (4, 0)])
def test_no_turn_at_all(same: Same, turns: int, go: int) -> None:
    # What it would have scanned has a shape that only a turn would tell.
    assert "Loop" in same("unroll-loops", HEADER + LOOP % (turns, go), X)
    source = (
        HEADER
        + f"""
        g (float[4] x) => (float[4] y) <int64 m = {{{turns}}}, bool go = {{{go}}}> {{
            n = Neg (x)
            y = Loop (m, go, n) <body = b (int64 i, bool c, float[4] h) => (bool d, float[4] k) {{
                d = Identity (c)  k = Mul (h, x)
            }}>
        }}"""
    )
    assert same("unroll-loops", source, X) == ["Neg"]
    assert same("unroll-loops", source.replace("(m, go, n)", "(m, go, x)"), X) == ["Identity"]


@pytest.mark.parametrize("opset", [9, 11, 13, 21])
def test_at_any_opset(same: Same, opset: int) -> None:
    source = HEADER.replace("17", str(opset)) + LOOP % (3, 1)
    assert "Loop" not in same("unroll-loops", source, X)


def test_a_loop_beyond_the_limit_stays(same: Same) -> None:
    assert "Loop" in same("unroll-loops", HEADER + LOOP % (5, 1), X, nodes=10)


def test_a_loop_whose_number_of_turns_is_an_input_stays(same: Same) -> None:
    source = HEADER + (LOOP % (3, 1)).replace("(float[4] x)", "(float[4] x, int64 m)", 1).replace("int64 m = {3}, ", "")
    assert "Loop" in same("unroll-loops", source, [{**X[0], "m": np.array(3)}])


def test_a_condition_computed_from_the_counter_and_constants(same: Same) -> None:
    # 1, 3, 7, 15: as long as twice the carried number and one is less than 20.
    source = (
        HEADER
        + """
        g (float[4] x) => (float[4] y) <int64 m = {9223372036854775807}, bool go = {1}, int64 n = {0}, int64 one = {1},
            int64 end = {20}> {
            l, y = Loop (m, go, n, x) <body = b (int64 i, bool c, int64 k, float[4] h)
                => (bool d, int64 q, float[4] z) {
                t = Add (k, k)  q = Add (t, one)  u = Add (q, q)  d = Less (u, end)  z = Exp (h)
            }>
        }"""
    )
    assert same("unroll-loops", source, X).count("Exp") == 4


def test_a_condition_that_never_fails_within_the_limit_is_left(same: Same) -> None:
    source = (
        HEADER
        + """
        g (float[4] x) => (float[4] y) <int64 m = {100000}, bool go = {1}, int64 end = {50000}> {
            y = Loop (m, go, x) <body = b (int64 i, bool c, float[4] h) => (bool d, float[4] z) {
                d = Less (i, end)  z = Neg (h)
            }>
        }"""
    )
    assert "Loop" in same("unroll-loops", source, X)


def test_a_condition_that_depends_on_the_data_stays(same: Same) -> None:
    source = (
        HEADER
        + """
        g (float[4] x) => (float[4] y) <int64 m = {3}, bool go = {1}, float[4] w = {1, 1, 1, 1}> {
            y = Loop (m, go, x) <body = b (int64 i, bool c, float[4] h) => (bool d, float[4] z) {
                z = Add (h, w)  s = ReduceMax <keepdims = 0> (z)  e = Cast <to = 9> (s)  d = Not (e)
            }>
        }"""
    )
    assert "Loop" in same("unroll-loops", source, X)


def test_random_numbers_go_on_from_turn_to_turn(apply: Callable[..., object]) -> None:
    source = (
        HEADER
        + """
        g (float[4] x) => (float[4] y) <int64 m = {3}, bool go = {1}> {
            y = Loop (m, go, x) <body = b (int64 i, bool c, float[4] h) => (bool d, float[4] z) {
                d = Identity (c)  r = RandomNormalLike <seed = 1.0> (h)  z = Add (h, r)
            }>
        }"""
    )
    model = apply("unroll-loops", source)
    assert [n.op_type for n in model.graph] == ["Loop"]  # type: ignore[attr-defined]


def test_nested_loops_with_initializers_and_values_from_outside(same: Same) -> None:
    source = (
        HEADER
        + """
        g (float[4] x) => (float[4] y) <int64 two = {2}, bool go = {1}> {
            a = Neg (x)
            y = Loop (two, go, x) <body = b (int64 i, bool c, float[4] h) => (bool d, float[4] z)
                <float[4] w = {1, 2, 3, 4}> {
                d = Identity (c)
                t = Add (h, w)
                z = Loop (two, go, t) <body = n (int64 j, bool e, float[4] k) => (bool f, float[4] o)
                    <float[4] v = {5, 6, 7, 8}> { f = Identity (e)  p = Mul (k, v)  q = Add (p, a)  o = Sub (q, h) }>
            }>
        }"""
    )
    left = same("unroll-loops", source, X)
    assert (left.count("Mul"), left.count("Loop")) == (4, 0)


def test_canonicalize_does_not_make_the_graph_larger(same: Same) -> None:
    assert "Loop" in same("canonicalize", HEADER + LOOP % (5, 1), X)
    assert "Loop" not in same("canonicalize", HEADER + LOOP % (1, 1), X)


def test_a_loop_of_constants_alone_is_computed(same: Same) -> None:
    source = (
        HEADER
        + """
        g (float[N] x) => (float[N] y) <int64 m = {6}, bool go = {1}, float a = {0}, float b = {1}> {
            p, q = Loop (m, go, a, b) <body = t (int64 i, bool c, float f, float h) => (bool d, float k, float l) {
                d = Identity (c)  k = Identity (h)  l = Add (f, h)
            }>
            y = Mul (x, p)
        }"""
    )
    assert same("canonicalize", source, X) == ["Mul"]


def test_carried_values_that_stay_the_same_and_outputs_unread_go(same: Same) -> None:
    source = (
        HEADER
        + """
        g (float[4] x, int64 m, float[4] w) => (float[4] y) <bool go = {1}> {
            y, same, count, all = Loop (m, go, x, w, m) <
                body = b (int64 i, bool c, float[4] h, float[4] v, int64 n)
                => (bool d, float[4] k, float[4] u, int64 o, float[4] s) {
                d = Identity (c)  k = Add (h, v)  u = Identity (v)  o = Add (n, n)  s = Exp (k)
            }>
        }"""
    )
    rng = np.random.default_rng(0)
    samples = [{**X[0], "w": rng.standard_normal(4).astype(np.float32), "m": np.array(m)} for m in (0, 1, 3)]
    left = same("trim-bodies", source, samples)
    assert left == ["Loop", "Identity", "Add"]


def test_a_carried_value_that_stays_the_same_may_be_an_output(same: Same) -> None:
    source = (
        HEADER
        + """
        g (float[4] x, int64 m, float[4] w) => (float[4] y, float[4] z) <bool go = {1}> {
            y, z = Loop (m, go, x, w) <body = b (int64 i, bool c, float[4] h, float[4] v)
                => (bool d, float[4] k, float[4] u) { d = Identity (c)  k = Add (h, v)  u = Identity (v) }>
        }"""
    )
    same("trim-bodies", source, [{**X[0], "w": X[0]["x"], "m": np.array(m)} for m in (0, 2)])


def scan(opset: int, attributes: dict[str, object], *, shapes: tuple[list[int], list[int]]) -> onnx.ModelProto:
    """A Scan over two inputs with one state and two scanned outputs."""
    row = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Add", ["h", "a"], ["t"]), helper.make_node("Mul", ["t", "b"], ["k"]),
        helper.make_node("Neg", ["t"], ["p"]), helper.make_node("Sub", ["k", "a"], ["q"]),
    ]  # fmt: skip
    body = helper.make_graph(
        nodes, "body", [row(n, 1, [3]) for n in "hab"], [row(n, 1, [3]) for n in ("k", "p", "q")]
    )  # fmt: skip
    batched = opset == 8
    inputs = ["", "s", "x", "w"] if batched else ["s", "x", "w"]
    node = helper.make_node("Scan", inputs, ["y", "u", "v"], body=body, num_scan_inputs=2, name="scan", **attributes)
    state = [2, 3] if batched else [3]
    given = [row("s", 1, state), row("x", 1, shapes[0]), row("w", 1, shapes[1])]
    outputs = [row(n, 1, None) for n in "yuv"]
    graph = helper.make_graph([node], "g", given, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def feeds(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        v.name: rng.standard_normal([d.dim_value for d in v.type.tensor_type.shape.dim]).astype(np.float32)
        for v in model.graph.input
    }


@pytest.mark.parametrize("opset", [9, 11, 16, 21])
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"scan_input_directions": [1, 0], "scan_output_directions": [0, 1]},
        {"scan_input_axes": [1, 0]},
        {"scan_output_axes": [1, 0], "scan_output_directions": [1, 1]},
    ],
)
def test_a_scan_with_axes_and_directions(same: Same, opset: int, attributes: dict[str, object]) -> None:
    first = [3, 4] if "scan_input_axes" in attributes else [4, 3]
    model = scan(opset, attributes, shapes=(first, [4, 3]))
    left = same("unroll-scans", model, [feeds(model)])
    assert "Scan" not in left
    assert left.count("Mul") == 4


def test_negative_axes_of_a_scan(same: Same) -> None:
    attributes = {"scan_input_axes": [-1, -2], "scan_output_axes": [-1, -2]}
    model = scan(11, attributes, shapes=([3, 4], [4, 3]))
    assert "Scan" not in same("unroll-scans", model, [feeds(model)])


@pytest.mark.parametrize("directions", [[0, 0], [1, 0]])
def test_a_scan_of_opset_8_has_a_batch(same: Same, directions: list[int]) -> None:
    model = scan(8, {"directions": directions}, shapes=([2, 4, 3], [2, 4, 3]))
    left = same("unroll-scans", model, [feeds(model)])
    assert "Scan" not in left
    assert left.count("Mul") == 8


def test_a_scan_of_a_dynamic_length_stays(same: Same) -> None:
    model = scan(11, {}, shapes=([4, 3], [4, 3]))
    for value in (*model.graph.input[1:], *model.graph.output[1:]):
        value.type.tensor_type.shape.dim[0].dim_param = "T"
    sample = {"s": np.ones(3, np.float32), "x": np.ones((4, 3), np.float32), "w": np.ones((4, 3), np.float32)}
    assert "Scan" in same("unroll-scans", model, [sample])


def test_sequences_through_an_unrolled_loop(same: Same) -> None:
    source = HEADER + """
        g (float[2, 3] x) => (float[6, 3] y) <int64 m = {3}, bool go = {1}> {
            e = SequenceEmpty <dtype = 1> ()
            s, h = Loop (m, go, e, x) <
                body = b (int64 i, bool c, seq(float[2, 3]) q, float[2, 3] k)
                => (bool d, seq(float[2, 3]) r, float[2, 3] z) {
                d = Identity (c)  z = Neg (k)  r = SequenceInsert (q, z)
            }>
            y = ConcatFromSequence <axis = 0> (s)
        }"""  # fmt: skip
    sample = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}
    proto = onnx.parser.parse_model(source)
    model_ops = same("unroll-loops", proto, [sample])
    assert "Loop" not in model_ops


def zeros(opset: int) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights = {"w": (1, 16, 3), "r": (1, 16, 4)}
    initializers = [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in weights.items()]
    initializers.append(numpy_helper.from_array(np.array([1, 2, 4]), "size"))
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["z"]),
        helper.make_node("Identity", ["z"], ["z2"]),
        helper.make_node("LSTM", ["x", "w", "r", "", "", "z", "z2"], ["o", "y"], hidden_size=4),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 4])], initializers,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def test_a_first_state_of_zeros_is_left_out(same: Same) -> None:
    model = zeros(17)
    sample = {"x": np.random.default_rng(1).standard_normal((5, 2, 3)).astype(np.float32)}
    assert same("canonicalize", model, [sample]) == ["LSTM"]


def test_a_first_state_of_minus_zeros_or_ones_stays(same: Same) -> None:
    sample = {"x": np.random.default_rng(1).standard_normal((5, 2, 3)).astype(np.float32)}
    for number in (-0.0, 1.0):
        model = zeros(17)
        fill = numpy_helper.from_array(np.array([number], np.float32))
        model.graph.node[0].attribute.append(helper.make_attribute("value", fill))
        assert "ConstantOfShape" in same("drop-zero-state", model, [sample])
