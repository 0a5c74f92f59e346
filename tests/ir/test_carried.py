"""What a loop carries has a proven shape exactly where every turn hands on the shape that it was given."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import parser

from graphopt.ir import infer_shapes, load, shape_of
from graphopt.ir.symbolic import partial_of
from graphopt.pipeline import Context
from graphopt.verify import run
from graphopt_passes.legalize.fix_input_shapes import FixInputShapes

HEADER = '<ir_version: 9, opset_import: ["": 17]>\n'
GROWS = "w = Concat <axis = 0> (v, v)"


def loop(
    step: str, start: str = "float[2, 4] x", declared: str = "float[]", condition: str = "r = Identity (q)"
) -> str:
    return f"""g (int64 n, bool p, {start}) => (float[] y) <float[4] four = {{1, 2, 3, 4}}, int64 three = {{3}}> {{
        y = Loop (n, p, x) <
            body = b (int64 i, bool q, {declared} v) => (bool r, {declared} w) {{ {condition} {step} }}
        >
    }}"""


def values_of(model: ir.Model) -> dict[str, ir.Value]:
    nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
    return {v.name or "": v for node in nodes for v in (*node.inputs, *node.outputs) if v is not None}


def inferred(text: str) -> dict[str, ir.Value]:
    model = load(parser.parse_model(HEADER + text))
    infer_shapes(model)
    return values_of(model)


def dims(value: ir.Value) -> list[int | str | None] | None:
    shape = shape_of(value)
    return None if shape is None else [d if isinstance(d, int) else d.value for d in shape]


def test_a_shape_that_comes_back_is_proven_inside_and_behind_the_loop() -> None:
    values = inferred(loop("u = Tanh (v) w = Add (u, four)"))
    assert [dims(values[name]) for name in "vuwy"] == [[2, 4]] * 4


def test_symbols_of_the_user_come_back_as_well() -> None:
    values = inferred(loop("w = Add (v, four)", start="float[N, 4] x"))
    assert dims(values["w"]) == dims(values["y"]) == ["N", 4]


def test_only_the_size_that_grows_is_dropped() -> None:
    values = inferred(loop(GROWS))
    assert all(dims(values[name])[1] == 4 for name in "vwy")
    assert not any(isinstance(dims(values[name])[0], int) for name in "vwy")


def test_a_rank_that_changes_leaves_nothing() -> None:
    values = inferred(loop("axis = Constant <value_ints = [0]> () w = Unsqueeze (v, axis)"))
    assert dims(values["v"]) is None
    assert dims(values["y"]) is None


def test_what_the_body_declares_is_not_believed() -> None:
    text = loop("w = Identity (v)", start="float[] x", declared="float[1, 64]")
    model = load(parser.parse_model(HEADER + text))
    model.graph.inputs[2].shape = None
    infer_shapes(model)
    values = values_of(model)
    assert dims(values["v"]) is None
    assert dims(values["y"]) is None


def test_what_was_learnt_under_an_assumption_that_failed_is_forgotten() -> None:
    values = inferred(loop(f"s = Shape (v) k = Gather (s, i) u = Tanh (v) {GROWS}"))
    assert not any(isinstance(dims(values[name])[0], int) for name in "uv")
    held = partial_of(values["s"])
    assert held is None or held[0].number is None


def test_an_assumption_falls_with_the_one_that_it_rests_on() -> None:
    values = inferred("""g (int64 n, bool p, float[1] a, float[1] b) => (float[] y, float[] z) {
        y, z = Loop (n, p, a, b) <
            body = t (int64 i, bool q, float[] v, float[] w) => (bool r, float[] c, float[] d) {
                r = Identity (q) c = Concat <axis = 0> (v, v) d = Identity (v)
            }
        >
    }""")
    assert dims(values["y"]) in (None, [None])
    assert dims(values["z"]) in (None, [None])


def test_values_that_change_places_keep_what_they_have_in_common() -> None:
    values = inferred("""g (int64 n, bool p, float[2, 4] a, float[3, 4] b) => (float[] y, float[] z) {
        y, z = Loop (n, p, a, b) <
            body = t (int64 i, bool q, float[] v, float[] w) => (bool r, float[] c, float[] d) {
                r = Identity (q) c = Identity (w) d = Identity (v)
            }
        >
    }""")
    assert dims(values["y"]) == dims(values["z"]) == [None, 4]


def test_a_loop_in_a_loop_behind_a_loop_is_proven_in_one_go() -> None:
    inner = """k = Loop (n, p, {0}) <
        body = {1} (int64 i{1}, bool q{1}, float[] v{1}) => (bool r{1}, float[] w{1}) {{
            r{1} = Identity (q{1}) w{1} = Add (v{1}, four)
        }}
    >"""
    first = inner.format("x", "one").replace("k =", "a =")
    values = inferred(f"""g (int64 n, bool p, float[2, 4] x) => (float[] y) <float[4] four = {{1, 2, 3, 4}}> {{
        {first}
        m = Neg (a)
        y = Loop (n, p, m) <
            body = two (int64 i, bool q, float[] v) => (bool r, float[] w) {{
                r = Identity (q) {inner.format("v", "three")} w = Relu (k)
            }}
        >
    }}""")
    assert all(dims(values[name]) == [2, 4] for name in ("a", "m", "v", "vthree", "wthree", "k", "w", "y"))


COLLECTS = """g (int64 n, float[2, 4] x) => (float[] y, float[] z) <int64 three = {{3}}, bool yes = {{1}}> {{
    y, z = Loop ({limit}, {start}, x) <
        body = b (int64 i, bool q, float[] v) => (bool r, float[] w, float[] o) {{ r = {stop} w = Neg (v) o = Abs (v) }}
    >
}}"""
GOES_ON, STOPS = "Identity (q)", "Not (q)"


@pytest.mark.parametrize(
    ("limit", "start", "stop", "known"),
    [("three", "yes", GOES_ON, True), ("three", "", GOES_ON, True), ("n", "yes", GOES_ON, False),
     ("three", "yes", STOPS, False)],
)  # fmt: skip
def test_as_many_results_are_collected_as_there_are_turns(limit: str, start: str, stop: str, known: bool) -> None:
    found = dims(inferred(COLLECTS.format(limit=limit, start=start, stop=stop))["z"])
    assert found[1:] == [2, 4]
    assert found[0] == 3 if known else not isinstance(found[0], int)


def test_the_states_of_a_scan_are_proven_too() -> None:
    values = inferred("""g (float[2] s, float[5, 2] xs) => (y, z) {
        y, z = Scan (s, xs) <
            num_scan_inputs = 1,
            body = b (float[] v, float[] u) => (float[] w, float[] o) { w = Add (v, u) o = Neg (w) }
        >
    }""")
    assert dims(values["v"]) == dims(values["y"]) == [2]
    assert dims(values["z"]) == [5, 2]


def test_a_size_that_is_fixed_later_goes_into_the_body() -> None:
    model = load(parser.parse_model(HEADER + loop("w = Add (v, four)", start="float[N, 4] x")))
    infer_shapes(model)
    FixInputShapes().run(model, Context(dims={"N": 6}))
    values = values_of(model)
    assert [dims(values[name]) for name in "vwy"] == [[6, 4]] * 3


@pytest.mark.parametrize("step", ["w = Add (v, four)", GROWS, "s = Shape (v) u = Transpose (v) w = Reshape (u, s)"])
@pytest.mark.parametrize("turns", [0, 1, 3])
def test_what_is_proven_holds_for_any_number_of_turns(step: str, turns: int) -> None:
    model = load(parser.parse_model(HEADER + loop(step)))
    infer_shapes(model)
    sample = {"n": np.array(turns), "p": np.array(True), "x": np.ones((2, 4), np.float32)}
    made = run(model, [sample])[0]["y"].shape
    proven = dims(values_of(model)["y"])
    assert len(made) == len(proven)
    assert all(not isinstance(known, int) or known == size for known, size in zip(proven, made, strict=True))
