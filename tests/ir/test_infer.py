"""Shapes are proven: through shape arithmetic with symbols, and never on the word of the file."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import parser
from onnx.backend.test.loader import TestCase

from graphopt.ir import infer as infer_module
from graphopt.ir import infer_shapes, load, shape_of, to_proto
from graphopt.ir.edit import static_shape
from graphopt.ir.evaluate import given
from graphopt.ir.symbolic import MADE_UP

HEADER = '<ir_version: 9, opset_import: ["": 17]>\n'


def inferred(text: str) -> dict[str, ir.Value]:
    """All values of a model by name, after inference."""
    model = load(parser.parse_model(HEADER + text))
    infer_shapes(model)
    nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
    return {v.name: v for node in nodes for v in (*node.inputs, *node.outputs) if v is not None}


def dims(value: ir.Value) -> list[int | str | None] | None:
    shape = shape_of(value)
    return None if shape is None else [d if isinstance(d, int) else d.value for d in shape]


def test_a_chain_of_shape_arithmetic_keeps_its_symbols() -> None:
    values = inferred("""
        g (float[N, 3, H, W] x) => (y) <int64[1] two = {2}, int64[1] zero = {0}, int64[1] rest = {-1}> {
            s = Shape (x)
            n = Gather (s, zero)
            n2 = Mul (n, two)
            target = Concat <axis = 0> (n2, rest)
            y = Reshape (x, target)
        }""")
    assert dims(values["y"]) == ["2*N", "floor((3*H*N*W)/(2*N))"]


def test_what_is_taken_apart_and_put_together_again_is_the_same() -> None:
    values = inferred("""
        g (float[N, C, H, W] x) => (y)
            <int64 zero = {0}, int64 one = {1}, int64 two = {2}, int64[1] axis = {0}, int64[1] rest = {-1}> {
            s = Shape (x)
            h = Gather (s, two)
            h2 = Mul (h, two)
            h1 = Div (h2, two)
            n = Gather (s, zero)
            c = Gather (s, one)
            nu = Unsqueeze (n, axis)
            cu = Unsqueeze (c, axis)
            hu = Unsqueeze (h1, axis)
            target = Concat <axis = 0> (nu, cu, hu, rest)
            y = Reshape (x, target)
        }""")
    assert dims(values["y"]) == ["N", "C", "H", "W"]


def test_dimensions_without_a_name_are_not_the_same() -> None:
    for name in ("?", "", "-1"):
        text = "g (float[1, 3, H, W] x) => (y) { y = Transpose <perm = [0, 1, 3, 2]> (x) }"
        model = load(parser.parse_model(HEADER + text))
        model.graph.inputs[0].shape = ir.Shape([1, 3, name or None, name or None])
        infer_shapes(model)
        height, width = dims(model.graph[0].outputs[0])[2:]
        assert height != width


def test_two_inputs_without_names_may_still_broadcast() -> None:
    values = inferred("g (float[?, 4] a, float[?, 4] b) => (y) { y = Add (a, b) }")
    assert dims(values["y"])[1] == 4
    assert not isinstance(dims(values["y"])[0], int)


def test_negative_dimensions_of_an_input_say_nothing() -> None:
    model = load(parser.parse_model(HEADER + "g (float[1, 4] x) => (y) { y = Relu (x) }"))
    model.graph.inputs[0].shape = ir.Shape([-1, 4])
    infer_shapes(model)
    first, second = dims(model.graph[0].outputs[0])
    assert isinstance(first, str)
    assert second == 4
    assert to_proto(model).graph.input[0].type.tensor_type.shape.dim[0].dim_value == -1


def test_shapes_that_a_file_declares_of_inner_values_and_outputs_are_not_believed() -> None:
    model = load(parser.parse_model(HEADER + """
        g (float[N, 4] x) => (float[9, 9] y) <float[7] a, int64[2] target> {
            a = Relu (x)
            target = Shape (a)
            y = Reshape (a, target)
        }"""))  # fmt: skip
    infer_shapes(model)
    relu, shape, reshape = model.graph
    assert dims(relu.outputs[0]) == ["N", 4]
    assert given(shape.outputs[0]) is None
    assert dims(reshape.outputs[0]) == ["N", 4]
    assert [d.dim_value for d in to_proto(model).graph.output[0].type.tensor_type.shape.dim] == [9, 9]


def test_a_declared_shape_of_what_no_schema_knows_is_kept() -> None:
    header = '<ir_version: 9, opset_import: ["": 17, "my": 1]> '
    text = "g (float[2] x) => (y) <float[2, 3] a> { a = my.Op (x) y = Relu (a) }"
    model = load(parser.parse_model(header + text))
    infer_shapes(model)
    assert [dims(node.outputs[0]) for node in model.graph] == [[2, 3], [2, 3]]


def test_the_bodies_of_an_if_are_inferred() -> None:
    values = inferred("""
        g (float[N, 4] x, bool p) => (y) {
            y = If (p) <
                then_branch = t () => (b) { b = Concat <axis = 1> (x, x) },
                else_branch = e () => (c) { d = Concat <axis = 1> (x, x) c = Neg (d) }
            >
        }""")
    assert dims(values["b"]) == ["N", 8]
    assert dims(values["c"]) == ["N", 8]


def test_what_a_loop_carries_may_change_its_shape_whatever_its_body_declares() -> None:
    values = inferred("""
        g (int64 n, bool p, float[1] x) => (y) {
            y = Loop (n, p, x) <
                body = b (int64 i, bool q, float[1] v) => (r, w) { r = Identity (q) w = Concat <axis = 0> (v, v) }
            >
        }""")
    assert dims(values["v"]) != [1]
    assert dims(values["w"]) != [2]
    assert dims(values["y"]) is None or not isinstance(dims(values["y"])[0], int)


def test_the_body_of_a_scan_learns_its_shapes_from_what_goes_in() -> None:
    values = inferred("""
        g (float[2] s, float[5, 2] xs) => (y, z) {
            y, z = Scan (s, xs) <
                num_scan_inputs = 1,
                body = b (float[7] v, float[9] u) => (w, o) { w = Add (v, u) o = Identity (w) }
            >
        }""")
    assert dims(values["w"]) == [2]
    assert dims(values["z"]) == [5, 2]


def test_a_sequence_has_no_shape_of_its_own() -> None:
    model = load(parser.parse_model(HEADER + "g (seq(float[?, 2]) s, int64 i) => (y) { y = SequenceAt (s, i) }"))
    before = to_proto(model).graph.input[0].type
    infer_shapes(model)
    assert shape_of(model.graph.inputs[0]) is None
    assert to_proto(model).graph.input[0].type == before
    assert model.graph[0].outputs[0].dtype == ir.DataType.FLOAT


@pytest.mark.parametrize(
    ("op", "a", "b"),
    [("Mul", 2**62, 4), ("Add", 2**63 - 1, 1), ("Sub", -(2**63), 1)],
)
def test_arithmetic_that_overflows_is_left_alone(op: str, a: int, b: int) -> None:
    values = inferred(f"g () => (y) <int64 a = {{{a}}}, int64 b = {{{b}}}> {{ y = {op} (a, b) }}")
    assert given(values["y"]) is None


def test_a_cast_that_wraps_is_left_alone() -> None:
    values = inferred(f"g () => (y) <int64 a = {{{2**40}}}> {{ y = Cast <to = 6> (a) }}")
    assert given(values["y"]) is None


def test_a_mod_of_the_other_kind_is_left_alone() -> None:
    values = inferred("g () => (y) <int64 a = {-7}, int64 b = {3}> { y = Mod <fmod = 1> (a, b) }")
    assert given(values["y"]) is None


@pytest.mark.parametrize(
    ("start", "end", "step", "expected"),
    [
        (1, 3, 1, [3, 4]), (-2, 2**63 - 1, 1, [4, 5]), (3, -(2**63), -1, [5, 4, 3, 2]), (-9, -9, -1, [2]),
        (9, 0, -2, [5, 3]),
    ],
)  # fmt: skip
def test_a_slice_of_a_shape_takes_what_the_standard_takes(start: int, end: int, step: int, expected: list[int]) -> None:
    values = inferred(f"""
        g (float[2, 3, 4, 5] x) => (y)
            <int64[1] b = {{{start}}}, int64[1] e = {{{end}}}, int64[1] axis = {{0}}, int64[1] by = {{{step}}}> {{
            s = Shape (x)
            y = Slice (s, b, e, axis, by)
        }}""")
    found = given(values["y"])
    assert found is not None
    assert list(found) == expected


def test_inference_contradicts_no_node_test_of_onnx(onnx_cases: list[TestCase]) -> None:
    wrong = []
    for case in onnx_cases:
        if case.kind != "node" or not case.data_sets:
            continue
        model = load(case.model)
        infer_shapes(model)
        _, outputs = case.data_sets[0]
        for value, actual in zip(model.graph.outputs, outputs, strict=False):
            shape = value.meta.get("graphopt.shape")
            if shape is None or not hasattr(actual, "shape"):
                continue
            if len(shape) != len(actual.shape) or any(
                isinstance(d, int) and d != n for d, n in zip(shape, actual.shape, strict=True)
            ):
                wrong.append((case.name, value.name, shape, actual.shape))
            content = given(value)
            if content is not None and content.tolist() != actual.tolist():
                wrong.append((case.name, value.name, content, actual))
    assert not wrong


def test_names_that_inference_makes_up_differ_from_run_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(parser.parse_model(HEADER + "g (float[N] x) => (y, z) { y = NonZero (x) z = Relu (x) }"))
    infer_shapes(model)
    name = dims(model.graph[0].outputs[0])[1]
    assert isinstance(name, str)
    assert name.startswith(MADE_UP)
    again = model.meta["graphopt.inferences"]
    monkeypatch.setattr(infer_module, "_FEW", 0)
    model.graph.inputs[0].shape = ir.Shape(["M"])
    infer_shapes(model)
    assert model.meta["graphopt.inferences"] > again
    assert dims(model.graph[0].outputs[0])[1] == name


def test_what_did_not_change_is_not_inferred_again() -> None:
    model = load(parser.parse_model(HEADER + "g (float[N, 4] x) => (z) { y = Neg (x) z = Neg (y) }"))
    infer_shapes(model)
    runs = model.meta["graphopt.inferences"]
    assert infer_shapes(model) == 0
    assert model.meta["graphopt.inferences"] == runs


def test_what_changed_since_is_inferred_with_all_that_follows() -> None:
    text = "g (float[N, 4] x, int64[2] s) => (z) { r = Reshape (x, s) y = Neg (r) z = Concat <axis = 1> (y, y) }"
    model = load(parser.parse_model(HEADER + text))
    infer_shapes(model)
    reshape, _, concat = model.graph
    assert dims(concat.outputs[0]) != [2, 12]
    target = ir.Value(name="target", const_value=ir.tensor(np.array([2, 6])), type=ir.TensorType(ir.DataType.INT64))
    model.graph.register_initializer(target)
    reshape.replace_input_with(1, target)
    runs = model.meta["graphopt.inferences"]
    assert infer_shapes(model) > 0
    assert dims(concat.outputs[0]) == [2, 12]
    assert model.meta["graphopt.inferences"] == runs, "a few nodes are looked at one by one"


def test_what_the_onnx_package_infers_nothing_of_is_like_its_input() -> None:
    source = """<ir_version: 10, opset_import: ["": 21]> g (float[2, 4, 8] x, float[4] s) => (y) {
        z = GroupNormalization <num_groups = 2> (x, s, s)  w = MeanVarianceNormalization (z)  y = Relu (w) }"""
    model = ir.from_onnx_text(source)
    infer_shapes(model)
    assert [static_shape(value) for node in model.graph for value in node.outputs] == [(2, 4, 8)] * 3
    assert {value.dtype for node in model.graph for value in node.outputs} == {ir.DataType.FLOAT}
