from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphopt_backends.tflite.compiler import computed_ahead, prepare, with_shapes
from graphopt_backends.tflite.executor import open_file, run
from graphopt_backends.tflite.lowering import lower


def _written(text: str, opset: int = 17):
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]>\n{text}')
    return model, lower(computed_ahead(with_shapes(ir.from_proto(model))))


@pytest.fixture
def agrees_on(reference):
    """LiteRT answers as onnxruntime does on each of several inputs, in one interpreter; the builtins."""

    def test(text: str, *samples, opset: int = 17) -> list[str]:
        model, written = _written(text, opset)
        assert written.content is not None, written.issues
        assert prepare(written.content, written.flat.operators) == []
        interpreter = open_file(written.content)
        for sample in samples:
            found = run(interpreter, sample)
            for name, expected in reference(model, sample).items():
                assert (found[name].shape, found[name].dtype) == (expected.shape, expected.dtype)
                np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6)
        return [operator.builtin for operator in written.flat.operators]

    return test


IF = """
g (float[2,3] x, bool c) => (float[2,3] y, float[2] z) <float[3] w = {1, 2, 3}> {
  h = Relu(x)
  y, z = If (c) <
    then_branch = t () => (float[2,3] a, float[2] b) { a = Add(h, w)  b = ReduceMax<axes = [1], keepdims = 0>(a) },
    else_branch = e () => (float[2,3] a2, float[2] b2) { a2 = Mul(x, w)  b2 = ReduceMin<axes = [1], keepdims = 0>(x) }
  >
}
"""


def test_a_branch_reads_what_is_around_it(agrees_on, floats):
    x = floats(2, 3)
    assert "IF" in agrees_on(IF, {"x": x, "c": np.asarray(True)}, {"x": x, "c": np.asarray(False)})


def test_a_branch_may_give_back_what_it_was_given_or_a_constant(agrees_on, floats):
    text = """
    g (float[2] x, bool[1] c) => (float[2] y, float[2] z) {
      y, z = If (c) <
        then_branch = t () => (float[2] a, float[2] b) { a = Identity(x)  b = Identity(x) },
        else_branch = e () => (float[2] k, float[2] n) { k = Constant<value = float[2] {1, 2}>()  n = Neg(x) }
      >
    }
    """
    x = floats(2)
    agrees_on(text, {"x": x, "c": np.asarray([True])}, {"x": x, "c": np.asarray([False])})


def test_branches_of_different_shapes_are_named(floats):
    text = """
    g (float[2,3] x, bool c) => (float[N] y) {
      y = If (c) <
        then_branch = t () => (float[6] a) <int64[1] s = {6}> { a = Reshape(x, s) },
        else_branch = e () => (float[2] b) { b = ReduceMax<axes = [1], keepdims = 0>(x) }
      >
    }
    """
    _, written = _written(text)
    assert [issue.op_type for issue in written.issues] == ["If"]
    assert "in one branch" in written.issues[0].reason


def test_a_node_inside_of_a_branch_is_named(floats):
    text = """
    g (float[2,3] x, bool c) => (float[2,3] y) {
      y = If (c) <
        then_branch = t () => (float[2,3] a) { [inside] a = Erf(x) },
        else_branch = e () => (float[2,3] b) { b = Relu(x) }
      >
    }
    """
    _, written = _written(text)
    assert [(issue.node, issue.op_type) for issue in written.issues] == [("inside", "Erf")]


WHILE = """
g (float[2,3] x, int64 n, bool go) => (float[2,3] y, float s) <float[3] w = {0.5, 2, 1}, float first = {0}> {
  y, s = Loop (n, go, x, first) <body = b (int64 i, bool c, float[2,3] v, float t) => (bool c2, float[2,3] v2, float t2)
    <float ten = {10}, int64[2] both = {0, 1}> {
      v2 = Mul(v, w)
      f = Cast<to = 1>(i)
      t2 = Add(t, f)
      c2 = Less(t2, ten)
    }>
}
"""


def test_a_loop_ends_by_count_or_by_condition(agrees_on, floats):
    x = floats(2, 3)
    samples = [{"x": x, "n": np.asarray(n), "go": np.asarray(go)} for n, go in ((3, True), (0, True), (5, False))]
    assert "WHILE" in agrees_on(WHILE, *samples, {"x": x, "n": np.asarray(1000), "go": np.asarray(True)})


def test_a_loop_without_a_limit_runs_on_its_condition(agrees_on, floats):
    text = """
    g (float x, bool go) => (float y) {
      y = Loop ("", go, x) <body = b (int64 i, bool c, float v) => (bool c2, float v2)
        <float two = {2}, float most = {50}> {
        v2 = Mul(v, two)
        c2 = Less(v2, most)
      }>
    }
    """
    assert "WHILE" in agrees_on(text, *({"x": np.asarray(n, np.float32), "go": np.asarray(True)} for n in (1, 30, 99)))


def test_a_loop_collects_results_where_their_number_is_known(agrees_on, floats):
    text = """
    g (float[2,3] x) => (float[2,3] y, float[K,2,3] all) <int64 n = {7}, bool go = {1}, float[3] w = {0.5, 2, 1}> {
      y, all = Loop (n, go, x) <body = b (int64 i, bool c, float[2,3] v) => (bool c2, float[2,3] v2, float[2,3] row) {
        c2 = Identity(c)
        f = Cast<to = 1>(i)
        m = Mul(v, w)
        v2 = Add(m, f)
        row = Add(v2, x)
      }>
    }
    """
    assert "WHILE" in agrees_on(text, {"x": floats(2, 3)})


def test_a_loop_that_may_end_early_cannot_collect(floats):
    text = """
    g (float x, bool go) => (float y, float[K] all) <int64 n = {7}> {
      y, all = Loop (n, go, x) <body = b (int64 i, bool c, float v) => (bool c2, float v2, float row)
        <float most = {9}> {
        v2 = Add(v, v)
        row = Identity(v2)
        c2 = Less(v2, most)
      }>
    }
    """
    _, written = _written(text)
    assert "how many turns it takes is not known" in written.issues[0].reason


SCAN = """
g (float[3] h, float[5,3] a, float[2,5] b) => (float[3] last, float[5,3] rows, float[2,5] columns) {{
  last, rows, columns = Scan <num_scan_inputs = 2, scan_input_axes = [0, 1], scan_output_axes = [0, 1]{more},
    body = s (float[3] v, float[3] p, float[2] q) => (float[3] v2, float[3] row, float[2] column) {{
      v2 = Add(v, p)
      row = Mul(v2, p)
      column = Neg(q)
    }}>(h, a, b)
}}
"""


@pytest.mark.parametrize("more", ["", ", scan_input_directions = [1, 0]", ", scan_output_directions = [1, 0]"])
def test_a_scan_over_several_axes_in_either_direction(more, agrees_on, floats):
    sample = {"h": floats(3), "a": floats(5, 3), "b": floats(2, 5)}
    assert "WHILE" in agrees_on(SCAN.format(more=more), sample)


def test_control_flow_inside_of_control_flow(agrees_on, floats):
    text = """
    g (float[2] x, bool flip) => (float[2] y) <int64 n = {4}, bool go = {1}, int64 two = {2}> {
      h = Neg(x)
      y = Loop (n, go, x) <body = b (int64 i, bool c, float[2] v) => (bool c2, float[2] v2) {
        c2 = Identity(c)
        low = Less(i, two)
        early = And(low, flip)
        v2 = If (early) <
          then_branch = t () => (float[2] p) { p = Add(v, h) },
          else_branch = e () => (float[2] q) { q = Mul(v, h) }
        >
      }>
    }
    """
    x = floats(2)
    agrees_on(text, {"x": x, "flip": np.asarray(True)}, {"x": x, "flip": np.asarray(False)})


def test_weights_that_two_graphs_read_are_stored_once():
    weights = np.arange(6000, dtype=np.float32)
    text = """
    g (float[6000] x, bool c) => (float[6000] y) {
      y = If (c) <
        then_branch = t () => (float[6000] a) { a = Add(x, w) },
        else_branch = e () => (float[6000] b) { b = Mul(x, w) }
      >
    }
    """
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]>\n{text}')
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    written = lower(computed_ahead(with_shapes(ir.from_proto(model))))
    assert written.content.count(weights.tobytes()) == 1
