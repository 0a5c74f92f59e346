"""Sequences and optionals go where it is known what is meant, and stay where it is not; the rest is property-tested."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

Same = Callable[..., list[str]]
HEADER = '<ir_version: 9, opset_import: ["": 17]>\n'
X = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}


def test_elements_without_their_axis_are_not_what_was_split(same: Same) -> None:
    source = (
        HEADER
        + """
        g (float[2, 3] x) => (float[6] y, float[2, 1, 3] z) {
            s = SplitToSequence <axis = 0, keepdims = 0> (x)  y = ConcatFromSequence <axis = 0> (s)
            t = SplitToSequence <axis = 0> (x)  z = ConcatFromSequence <axis = 0, new_axis = 1> (t)
        }"""
    )
    assert same("resolve-sequences", source, [X]).count("ConcatFromSequence") == 2


def test_a_position_that_is_an_input_picks_by_gather_where_it_is_one_element(same: Same) -> None:
    source = (
        HEADER
        + """
        g (float[2, 3] x, int64 i) => (float[3] y) {
            s = SplitToSequence <axis = 0, keepdims = 0> (x)  y = SequenceAt (s, i)
        }"""
    )
    samples = [{**X, "i": np.array(i)} for i in (0, 1, -1, -2)]
    assert same("resolve-sequences", source, samples) == ["Gather"]
    kept = source.replace(", keepdims = 0", "").replace("float[3] y", "float[1, 3] y")
    assert "SequenceAt" in same("resolve-sequences", kept, samples)


@pytest.mark.parametrize("position", [2, -3])
def test_a_position_out_of_range_is_left_to_fail(apply: Callable[..., object], position: int) -> None:
    source = (
        HEADER
        + f"""
        g (float[2, 3] x) => (float[2, 3] y) <int64 i = {{{position}}}> {{
            s = SequenceConstruct (x, x)  y = SequenceAt (s, i)
        }}"""
    )
    model = apply("resolve-sequences", source)
    assert [n.op_type for n in model.graph] == ["SequenceConstruct", "SequenceAt"]  # type: ignore[attr-defined]


def test_the_last_element_may_be_erased(same: Same) -> None:
    source = (
        HEADER
        + """
        g (float[2, 3] x) => (float[2, 3] y, int64 n) {
            s = SequenceConstruct (x)  e = SequenceErase (s)  n = SequenceLength (e)
            t = SequenceInsert (e, x)  y = ConcatFromSequence <axis = 0> (t)
        }"""
    )
    left = same("canonicalize", source, [X])
    assert not any("Sequence" in op for op in left)


def test_an_optional_input_is_not_resolved(same: Same) -> None:
    source = (
        HEADER.replace("17", "18")
        + """
        g (float[2, 3] x) => (bool y, bool z) {
            e = Optional <type = float[2, 3]> ()  y = OptionalHasElement (e)  z = OptionalHasElement ()
        }"""
    )
    assert same("resolve-optionals", source.replace("e = Optional <type = float[2, 3]> ()  ", "e = Neg (x)  "), [X])


def test_canonicalize_leaves_a_list_out_of_a_loop(same: Same) -> None:
    source = (
        HEADER
        + """
        g (float[2, 3] x, int64 m) => (float[A, 3] y) <bool go = {1}> {
            s = SequenceConstruct (x)
            t = Loop (m, go, s) <body = b (int64 i, bool c, seq(float[2, 3]) q) => (bool d, seq(float[2, 3]) r) {
                d = Identity (c)  z = Neg (x)  r = SequenceInsert (q, z)
            }>
            y = ConcatFromSequence <axis = 0> (t)
        }"""
    )
    assert "Loop" in same("canonicalize", source, [{**X, "m": np.array(m)} for m in (0, 1, 3)])
