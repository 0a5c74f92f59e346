"""Chains of nodes that only move, cut, join, clip or reduce become short, and only where that is right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphopt.ir import load
from graphopt.verify import run

Apply = Callable[..., ir.Model]


def header(opset: int = 17) -> str:
    return f'<ir_version: 9, opset_import: ["": {opset}, "my": 1]>\n'


def ops(model: ir.Model) -> list[str]:
    return [n.op_type for n in ir.traversal.RecursiveGraphIterator(model.graph) if n.op_type != "Constant"]


def check(apply: Apply, name: str, source: str, opset: int = 17, **feeds: np.ndarray) -> list[str]:
    """Apply a pass; both models compute the same bits of `feeds`, or of ordinary numbers."""
    text = header(opset) + source
    before, after = load(onnx.parser.parse_model(text)), apply(name, text)
    given = feeds or {v.name: _numbers(v) for v in before.graph.inputs}
    for expected, actual in zip(run(before, [given])[0].values(), run(after, [given])[0].values(), strict=True):
        assert expected.shape == actual.shape
        assert expected.tobytes() == actual.tobytes()
    return ops(after)


def _numbers(value: ir.Value) -> np.ndarray:
    shape = [d if isinstance(d, int) else 2 for d in value.shape or ()]
    return np.asarray(np.random.default_rng(0).standard_normal(shape) * 4, value.dtype.numpy())


@pytest.mark.parametrize("sizes", [(0, 3), (1, 1), (2, 0), (2, 3)])
def test_reshapes_of_two_dynamic_dimensions_merge_by_copying_them(apply: Apply, sizes: tuple[int, int]) -> None:
    found = check(apply, "merge-reshapes", """
        g (float[N, M, 4] x) => (y) <int64[4] parts = {0, 0, 2, 2}, int64[1] axis = {0}> {
            a = Reshape (x, parts)  b = Unsqueeze (a, axis)  y = Squeeze (b, axis)
        }""", x=np.ones((*sizes, 4), np.float32))  # fmt: skip
    assert found == ["Reshape"]


def test_no_reshape_that_fails_on_an_empty_tensor_replaces_nodes_that_do_not(apply: Apply) -> None:
    source = """
        g (float[N, A, B] x) => (y) <int64[1] axis = {1}> {
            s = Shape (x)  f = Flatten <axis = 1> (x)  y = Unsqueeze (f, axis)
        }"""
    # [N, 1, A*B] could be said as [0, 1, -1], but not of no rows.
    assert check(apply, "merge-reshapes", source, x=np.ones((0, 2, 3), np.float32)) != ["Reshape"]


@pytest.mark.parametrize("zero", [0, 1])
def test_a_reshape_that_copies_from_the_shape_between_stays_right(apply: Apply, zero: int) -> None:
    check(apply, "merge-reshapes", f"""
        g (float[N, 4] x) => (y) <int64[2] one = {{4, -1}}, int64[2] two = {{{0 if not zero else -1}, 2}}> {{
            a = Reshape (x, one)  y = Reshape <allowzero = {zero}> (a, two)
        }}""", x=np.arange(8, dtype=np.float32).reshape(2, 4))  # fmt: skip


def test_a_transpose_that_moves_more_than_ones_is_no_reshape(apply: Apply) -> None:
    for perm, expected in (([1, 0, 2, 3], ["Reshape"]), ([0, 2, 1, 3], ["Transpose", "Flatten"])):
        assert check(apply, "merge-reshapes", f"""
            g (float[1, 2, 3, 1] x) => (y) {{ a = Transpose <perm = {perm}> (x)  y = Flatten <axis = 2> (a) }}
        """) == expected  # fmt: skip


@pytest.mark.parametrize("opset", [11, 13])
def test_squeezes_merge_in_each_form_of_their_axes(apply: Apply, opset: int) -> None:
    if opset < 13:
        body = (
            "a = Unsqueeze <axes = [0]> (x)  b = Unsqueeze <axes = [-1]> (a)  c = Neg (b)  d = Squeeze <axes = [0]> (c)"
        )
        last = "y = Squeeze <axes = [-1]> (d)"
    else:
        body = "a = Unsqueeze (x, f)  b = Unsqueeze (a, l)  c = Neg (b)  d = Squeeze (c, f)"
        last = "y = Squeeze (d, l)"
    source = f"g (float[A, B] x) => (y) <int64[1] f = {{0}}, int64[1] l = {{-1}}> {{ {body} {last} }}"
    assert check(apply, "merge-squeezes", source, opset) == ["Unsqueeze", "Neg", "Squeeze"]


def test_slices_along_one_dynamic_axis_add_up_from_the_front(apply: Apply) -> None:
    source = """
        g (float[N] x) => (y) <int64[1] a = {1}, int64[1] b = {2}, int64[1] c = {5}, int64[1] axis = {0}> {
            s = Slice (x, a, c, axis)  y = Slice (s, b, c, axis)
        }"""
    for size in (0, 2, 4, 9):
        assert check(apply, "merge-slices", source, x=np.arange(size, dtype=np.float32)) == ["Slice"]


def test_any_two_slices_of_an_axis_of_known_size_make_one(apply: Apply) -> None:
    source = np.random.default_rng(0)
    bounds, nodes = [], []
    for number in range(80):
        for letter in "ab":
            step = int(source.choice([1, 2, 3, -1, -2]))
            start, end = sorted(source.integers(-7, 9, 2).tolist(), reverse=step < 0)
            named = {"s": start, "e": end, "p": step}
            bounds += [f"int64[1] {letter}{key}{number} = {{{value}}}" for key, value in named.items()]
        nodes.append(f"m{number} = Slice (x, as{number}, ae{number}, axis, ap{number})")
        nodes.append(f"y{number} = Slice (m{number}, bs{number}, be{number}, axis, bp{number})")
    outputs = ", ".join(f"y{number}" for number in range(80))
    found = check(apply, "merge-slices", f"""
        g (float[7] x) => ({outputs}) <{", ".join(bounds)}, int64[1] axis = {{0}}> {{
            {"  ".join(nodes)}
        }}""")  # fmt: skip
    assert len(found) < 100


def test_slices_from_the_back_of_a_dynamic_axis_stay(apply: Apply) -> None:
    source = """
        g (float[N] x) => (y) <int64[1] a = {-3}, int64[1] b = {1}, int64[1] c = {9}, int64[1] axis = {0}> {
            s = Slice (x, a, c, axis)  y = Slice (s, b, c, axis)
        }"""
    for size in (1, 2, 5):
        assert check(apply, "merge-slices", source, x=np.arange(size, dtype=np.float32)) == ["Slice", "Slice"]


def test_slices_of_a_slice_that_something_else_reads_as_well_stay_smaller(apply: Apply) -> None:
    text = (
        header()
        + """
        g (float[6] x) => (y, z) <int64[1] a = {1}, int64[1] c = {5}, int64[1] axis = {0}> {
            s = Slice (x, a, c, axis)  y = Slice (s, a, c, axis)  z = Neg (s)
        }"""
    )
    assert [n.inputs[0].name for n in apply("merge-slices", text).graph] == ["x", "s", "s"]


def test_bounds_that_are_computed_are_left_alone(apply: Apply) -> None:
    found = check(apply, "merge-slices", """
        g (float[6] x, int64[1] a) => (y) <int64[1] c = {5}, int64[1] axis = {0}> {
            s = Slice (x, a, c, axis)  y = Slice (s, a, c, axis)
        }""", x=np.arange(6, dtype=np.float32), a=np.array([1]))  # fmt: skip
    assert found == ["Slice", "Slice"]


def test_overlapping_or_gappy_slices_are_not_a_split(apply: Apply) -> None:
    for end, start in ((3, 2), (2, 3)):
        assert check(apply, "slices-to-split", f"""
            g (float[6] x) => (y, z) <int64[1] o = {{0}}, int64[1] e = {{{end}}}, int64[1] s = {{{start}}},
             int64[1] six = {{6}}> {{
                y = Slice (x, o, e, o)  z = Slice (x, s, six, o)
            }}""") == ["Slice", "Slice"]  # fmt: skip


def test_slices_that_end_before_the_value_does_are_not_a_split(apply: Apply) -> None:
    assert check(apply, "slices-to-split", """
        g (float[6] x) => (y, z) <int64[1] o = {0}, int64[1] e = {2}, int64[1] f = {4}> {
            y = Slice (x, o, e, o)  z = Slice (x, e, f, o)
        }""") == ["Slice", "Slice"]  # fmt: skip


def test_slices_of_slices_become_splits_of_splits(apply: Apply) -> None:
    found = check(apply, "slices-to-split", """
        g (float[4, 6] x) => (p, q, r)
        <int64[1] zero = {0}, int64[1] two = {2}, int64[1] six = {6}, int64[1] one = {1}> {
            r = Slice (x, two, six, zero)  a = Slice (x, zero, two, zero)
            p = Slice (a, zero, two, one)  q = Slice (a, two, six, one)
        }""")  # fmt: skip
    assert found == ["Split", "Split"]


def test_the_same_piece_twice_as_outputs_keeps_both_names(apply: Apply) -> None:
    text = header() + """
        g (float[4] x) => (float[2] p, float[2] q, float[2] r)
        <int64[1] zero = {0}, int64[1] two = {2}, int64[1] four = {4}> {
            r = Slice (x, two, four, zero)  p = Slice (x, zero, two, zero)  q = Slice (x, zero, two, zero)
        }"""  # fmt: skip
    after = apply("slices-to-split", text)
    assert ops(after) == ["Split", "Identity"]
    assert [v.name for v in after.graph.outputs] == ["p", "q", "r"]


def test_slices_in_the_two_branches_of_an_if_are_divided_each_in_its_own(apply: Apply) -> None:
    text = header() + """
        g (float[4] x, bool c) => (float[2] y) <int64[1] zero = {0}, int64[1] two = {2}, int64[1] four = {4}> {
            y = If (c) <
                then_branch = t () => (float[2] a) {
                    p = Slice (x, zero, two, zero)  q = Slice (x, two, four, zero)  a = Add (p, q)
                },
                else_branch = e () => (float[2] b) { b = Slice (x, zero, two, zero) }
            >
        }"""  # fmt: skip
    assert sorted(ops(apply("slices-to-split", text))) == ["Add", "If", "Slice", "Split"]


def test_parts_in_another_order_are_not_the_whole(apply: Apply) -> None:
    found = check(apply, "merge-splits", """
        g (float[2, 6] x) => (y) { a, b = Split <axis = 1> (x)  y = Concat <axis = 1> (b, a) }""")  # fmt: skip
    assert found == ["Split", "Concat"]


def test_parts_joined_along_another_axis_are_not_the_whole(apply: Apply) -> None:
    found = check(apply, "merge-splits", """
        g (float[4, 4] x) => (y) { a, b = Split <axis = 1> (x)  y = Concat <axis = 0> (a, b) }""")  # fmt: skip
    assert found == ["Split", "Concat"]


def test_a_concat_that_is_read_twice_or_along_another_axis_stays(apply: Apply) -> None:
    text = (
        header()
        + """
        g (float[2, 2] x, float[2, 2] z) => (y, w, v) {
            a = Concat <axis = 0> (x, z)  y = Concat <axis = 0> (a, z)  w = Neg (a)
            b = Concat <axis = 1> (x, z)  v = Concat <axis = 0> (b)
        }"""
    )
    after = apply("merge-concats", text)
    assert [v.producer().inputs[0].name for v in after.graph.outputs] == ["a", "a", "b"]


def test_an_empty_part_that_the_caller_may_replace_stays(apply: Apply) -> None:
    text = header() + """
        g (float[2] x, float[M] e) => (float[K] y) { y = Concat <axis = 0> (x, e) }"""  # fmt: skip
    assert ops(apply("merge-concats", text)) == ["Concat"]


def test_indices_outside_of_the_first_gather_are_not_looked_up(apply: Apply) -> None:
    text = header() + """
        g (float[9] x) => (y) <int64[2] a = {1, 2}, int64[1] b = {5}> {
            c = Gather (x, a)  y = Gather (c, b)
        }"""  # fmt: skip
    assert ops(apply("merge-gathers", text)) == ["Gather", "Gather"]


def test_indices_in_another_order_are_no_reshape(apply: Apply) -> None:
    found = check(apply, "merge-gathers", """
        g (float[4] x) => (y, z) <int64[2, 2] a = {0, 2, 1, 3}, int64[1, 3] b = {0, 1, 2}> {
            y = Gather (x, a)  z = Gather (x, b)
        }""")  # fmt: skip
    assert found == ["Gather", "Gather"]


@pytest.mark.parametrize(
    ("one", "two", "merged"),
    [
        ("<mode = \"reflect\">", "<mode = \"reflect\">", False),
        ("<mode = \"edge\">", "<mode = \"edge\">", True),
        ("<mode = \"constant\">", "<mode = \"edge\">", False),
    ],
)  # fmt: skip
def test_pads_merge_only_where_the_second_sees_no_difference(apply: Apply, one: str, two: str, merged: bool) -> None:
    found = check(apply, "merge-pads", f"""
        g (float[4] x) => (y) <int64[2] p = {{1, 2}}> {{ a = Pad {one} (x, p)  y = Pad {two} (a, p) }}""")  # fmt: skip
    assert found == (["Pad"] if merged else ["Pad", "Pad"])


@pytest.mark.parametrize(("first", "second"), [("0", "-0"), ("1", "0"), ("-1", "-2")])
def test_pads_by_numbers_of_other_bits_or_that_take_away_stay(apply: Apply, first: str, second: str) -> None:
    pads = "-1, 1" if first == "-1" else "1, 1"
    found = check(apply, "merge-pads", f"""
        g (float[4] x) => (y) <int64[2] p = {{{pads}}}, float a = {{{first}}}, float b = {{{second}}}> {{
            c = Pad (x, p, a)  y = Pad (c, p, b)
        }}""")  # fmt: skip
    assert found == ["Pad", "Pad"]


SPECIAL = np.array([-np.inf, -9, -2, -1, -0.0, 0.0, 0.5, 1, 2, 6, 9, np.inf, np.nan], np.float32)


@pytest.mark.parametrize("low", [-3.0, 0.0, 1.0])
@pytest.mark.parametrize("high", [-1.0, 2.0])
def test_clips_and_relus_in_a_row_keep_every_special_number(apply: Apply, low: float, high: float) -> None:
    chains = (
        "a = Clip (x, l, h)  y = Clip (a, i, j)",
        "a = Clip (x, i, j)  y = Clip (a, l, h)",
        "a = Clip (x, l, h)  y = Relu (a)",
        "a = Relu (x)  y = Clip (a, l, h)",
        "a = Clip (x, l)  y = Relu (a)",
    )
    for body in chains:
        check(apply, "merge-clips", f"""
            g (float[13] x) => (y) <float l = {{{low}}}, float h = {{{high}}}, float i = {{-2}}, float j = {{1.5}}>
            {{ {body} }}""", x=SPECIAL)  # fmt: skip


def test_large_integers_are_clipped_to_the_last_digit(apply: Apply) -> None:
    found = check(apply, "merge-clips", """
        g (int64[3] x) => (y) <int64 l = {9007199254740993}, int64 h = {9223372036854775806}> {
            a = Clip (x, l)  y = Clip (a, l, h)
        }""", x=np.array([0, 2**53 + 2, 2**63 - 1]))  # fmt: skip
    assert found == ["Clip"]


def test_bounds_that_the_caller_may_override_are_not_merged(apply: Apply) -> None:
    text = (
        header()
        + """
        g (float[2] x, float h) => (float[2] y) <float l = {0}, float h = {6}> {
            a = Clip (x, l, h)  y = Clip (a, l, h)
        }"""
    )
    assert ops(apply("merge-clips", text)) == ["Clip", "Clip"]


@pytest.mark.parametrize(("opset", "axes"), [(13, "<axes = [1], keepdims = 1> (x)"), (18, "<keepdims = 1> (x, one)")])
def test_a_reduction_drops_its_axes_in_each_form(apply: Apply, opset: int, axes: str) -> None:
    found = check(apply, "set-keepdims", f"""
        g (float[N, 3, 4] x) => (y) <int64[1] one = {{1}}> {{
            a = ReduceMax {axes}  y = Squeeze (a, one)
        }}""", opset)  # fmt: skip
    assert found == ["ReduceMax"]


def test_a_squeeze_of_other_axes_stays(apply: Apply) -> None:
    found = check(apply, "set-keepdims", """
        g (float[1, 3, 4] x) => (y) <int64[1] z = {0}> {
            a = ReduceMax <axes = [2]> (x)  y = Squeeze (a, z)
        }""")  # fmt: skip
    assert found == ["ReduceMax", "Squeeze"]


def test_a_sum_over_no_axes_at_all_is_left_alone(apply: Apply) -> None:
    found = check(apply, "set-keepdims", """
        g (float[1, 3] x) => (y) <int64[0] none = {}, int64[1] z = {0}> {
            a = ReduceSum <noop_with_empty_axes = 1> (x, none)  y = Squeeze (a, z)
        }""")  # fmt: skip
    assert found == ["ReduceSum", "Squeeze"]


def test_different_reductions_do_not_merge(apply: Apply) -> None:
    found = check(apply, "merge-reductions", """
        g (float[2, 3, 4] x) => (y) { a = ReduceMax <axes = [2]> (x)  y = ReduceMin <axes = [1]> (a) }""")  # fmt: skip
    assert found == ["ReduceMax", "ReduceMin"]


def test_a_reduction_keeps_reading_a_transpose_that_orders_what_is_left(apply: Apply) -> None:
    found = check(apply, "merge-reductions", """
        g (float[2, 3, 4] x) => (y, z) <int64[1] one = {1}> {
            a = Transpose <perm = [2, 1, 0]> (x)  y = ReduceMax <axes = [1], keepdims = 0> (a)
            z = ReduceMax <axes = [2], keepdims = 1> (a)
        }""")  # fmt: skip
    assert found == ["Transpose", "ReduceMax", "ReduceMax"]


def test_squares_of_squares_are_not_squares(apply: Apply) -> None:
    found = check(apply, "merge-reductions", """
        g (float[2, 3, 4] x) => (y) {
            a = ReduceSumSquare <axes = [2]> (x)  y = ReduceSumSquare <axes = [1]> (a)
        }""")  # fmt: skip
    assert found == ["ReduceSumSquare", "ReduceSumSquare"]


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_an_expand_stays_where_it_alone_makes_the_result_that_large(apply: Apply, rows: int) -> None:
    found = check(apply, "remove-expands", """
        g (float[N, 2] x, float[1, 2] z) => (y, w) {
            s = Shape (x)  a = Expand (z, s)  y = Add (a, z)  w = Add (a, x)
        }""", x=np.ones((rows, 2), np.float32), z=np.ones((1, 2), np.float32))  # fmt: skip
    assert found == ["Shape", "Expand", "Add", "Add"]


def test_an_expand_of_a_dimension_that_may_or_may_not_be_one_stays(apply: Apply) -> None:
    source = """
        g (float[N, 2] x, float[M, 2] z) => (y) { s = Shape (x)  a = Expand (z, s)  y = Add (a, x) }"""
    assert "Expand" in check(apply, "remove-expands", source)


def test_the_rows_of_a_matrix_do_not_broadcast(apply: Apply) -> None:
    found = check(apply, "remove-expands", """
        g (float[1, 2] x, float[2, 3] w) => (y) <int64[2] s = {4, 2}> {
            a = Expand (x, s)  y = MatMul (a, w)
        }""")  # fmt: skip
    assert found == ["Expand", "MatMul"]


def test_operators_of_other_domains_are_no_moves(apply: Apply) -> None:
    text = header() + """
        g (float[2, 3] x) => (y) {
            a = my.Transpose (x)  b = my.Transpose (a)  c = my.Slice (b)  d = my.Relu (c)  y = my.Clip (d)
        }"""  # fmt: skip
    assert len(ops(apply("canonicalize", text))) == 5
