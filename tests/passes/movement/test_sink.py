"""Transposes and Reshapes go where fewer of them are needed; every graph computes what it did, and none grows."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import onnx
import onnx_ir as ir
import pytest

from graphopt.ir import count_nodes, infer_shapes, load, validate
from graphopt.pipeline import PASSES, Context
from graphopt.testing import Sketch
from graphopt.verify import compare, generate, holds, run

Apply = Callable[..., ir.Model]
HEADER = '<ir_version: 9, opset_import: ["": 17]>\n'


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph if node.op_type != "Constant"]


def same(source: str | onnx.ModelProto, after: ir.Model) -> bool:
    """Whether both compute the same on random inputs, but for the order of sums."""
    before = load(onnx.parser.parse_model(source) if isinstance(source, str) else source)
    samples = list(generate(before, samples=2))
    return holds("rounding", compare(list(run(before, samples)), list(run(after, samples))))[0]


def check(apply: Apply, name: str, source: str) -> list[str]:
    after = apply(name, HEADER + source)
    assert same(HEADER + source, after)
    return ops(after)


def test_transposes_around_elementwise_operators_cancel(apply: Apply) -> None:
    assert check(apply, "sink-transposes", """
        g (float[2, 3, 4, 5] x) => (float[2, 3, 4, 5] y) <float[3] bias = {1, 2, 3}> {
            a = Transpose <perm = [0, 2, 3, 1]> (x)
            b = Relu (a)
            c = Add (b, bias)
            d = Softmax <axis = -1> (c)
            y = Transpose <perm = [0, 3, 1, 2]> (d)
        }""") == ["Relu", "Add", "Softmax"]  # fmt: skip


def test_axes_of_concat_split_slice_pad_and_reductions_are_renumbered(apply: Apply) -> None:
    assert "Transpose" not in check(apply, "sink-transposes", """
        g (float[2, 3, 4] x, float[2, 3, 4] z) => (float[2, 7, 4] y)
        <int64[2] sizes = {2, 2}, int64[6] pads = {0, 0, 1, 0, 0, 0}, int64[1] start = {1}, int64[1] end = {4},
         int64[1] axis = {-1}> {
            a = Transpose <perm = [0, 2, 1]> (x)
            b = Transpose <perm = [0, 2, 1]> (z)
            c, d = Split <axis = 1> (a, sizes)
            e = Concat <axis = 1> (d, c)
            f = Concat <axis = -1> (e, b, b)
            h = Slice (f, start, end, axis)
            i = Concat <axis = 2> (h, a)
            j = Pad (i, pads)
            m = ReduceMean <axes = [1]> (e)
            k = ArgMax <axis = 1> (e)
            l = Cast <to = 1> (k)
            n = Sub (e, m)
            o = ReduceMax <axes = [2]> (n)
            p = Div (j, o)
            y = Transpose <perm = [0, 2, 1]> (p)
        }""")  # fmt: skip


def test_a_transpose_with_other_readers_stays_for_them_and_costs_nothing_more(apply: Apply) -> None:
    assert check(apply, "sink-transposes", """
        g (float[2, 3, 4] x) => (float[2, 4, 3] a, float[2, 3, 4] y) {
            a = Transpose <perm = [0, 2, 1]> (x)
            b = Relu (a)
            y = Transpose <perm = [0, 2, 1]> (b)
        }""") == ["Transpose", "Relu"]  # fmt: skip


def test_nothing_changes_where_as_many_transposes_would_be_left(apply: Apply) -> None:
    source = """
        g (float[2, 3, 4] x) => (float[2, 4, 3] y, float[2, 4, 3] b) {
            a = Transpose <perm = [0, 2, 1]> (x)
            b = Relu (a)
            y = Exp (b)
        }"""
    assert check(apply, "sink-transposes", source) == ["Transpose", "Relu", "Exp"]


def test_one_transpose_after_two_branches_is_better_than_one_before_each(apply: Apply) -> None:
    assert check(apply, "sink-transposes", """
        g (float[2, 3, 4] x, float[2, 3, 4] z) => (float[2, 4, 3] y) {
            a = Transpose <perm = [0, 2, 1]> (x)
            b = Transpose <perm = [0, 2, 1]> (z)
            y = Mul (a, b)
        }""") == ["Mul", "Transpose"]  # fmt: skip


def test_a_body_keeps_reading_the_value_around_it(apply: Apply) -> None:
    found = check(apply, "sink-transposes", """
        g (float[2, 3] x, bool p) => (float[2, 3] y, float[3, 2] z) {
            a = Transpose <perm = [1, 0]> (x)
            b = Relu (a)
            y = Transpose <perm = [1, 0]> (b)
            z = If (p) <
                then_branch = t () => (float[3, 2] c) { c = Exp (b) },
                else_branch = e () => (float[3, 2] d) { d = Neg (b) }
            >
        }""")  # fmt: skip
    assert found.count("Transpose") == 1


def test_quantization_of_the_whole_tensor_is_no_obstacle(apply: Apply) -> None:
    assert "Transpose" not in check(apply, "sink-transposes", """
        g (float[2, 3, 4] x) => (float[2, 3, 4] y) <float s = {0.5}, int8 z = {0}> {
            a = Transpose <perm = [0, 2, 1]> (x)
            q = QuantizeLinear (a, s, z)
            r = DequantizeLinear (q, s, z)
            y = Transpose <perm = [0, 2, 1]> (r)
        }""")  # fmt: skip


def test_quantization_by_channel_stays_where_it_is(apply: Apply) -> None:
    assert check(apply, "sink-transposes", """
        g (float[2, 3, 2] x) => (float[2, 3, 2] y) <float[2] s = {0.5, 1}, int8[2] z = {0, 1}> {
            a = Transpose <perm = [0, 2, 1]> (x)
            q = QuantizeLinear <axis = 1> (a, s, z)
            r = DequantizeLinear <axis = 1> (q, s, z)
            y = Transpose <perm = [0, 2, 1]> (r)
        }""").count("Transpose") == 2  # fmt: skip


def test_old_operators_that_do_not_broadcast_or_flatten_stay(apply: Apply) -> None:
    source = """<ir_version: 9, opset_import: ["": 12]>
        g (float[2, 3, 4] x) => (float[2, 3, 4] y) {
            a = Transpose <perm = [0, 2, 1]> (x)
            b = Softmax <axis = 1> (a)
            y = Transpose <perm = [0, 2, 1]> (b)
        }"""
    assert ops(apply("sink-transposes", source)).count("Transpose") == 2


def test_a_residual_stream_becomes_matrices_around_gemms(apply: Apply) -> None:
    found = check(apply, "sink-reshapes", """
        g (float[2, 4, 3] x, float[3, 3] w, float[3] s) => (float[2, 4, 3] y)
        <int64[2] flat = {8, 3}, int64[3] deep = {2, 4, 3}> {
            a = Reshape (x, flat)  b = Gemm (a, w)  c = Reshape (b, deep)  d = Add (c, x)
            e = LayerNormalization (d, s)  f = Reshape (e, flat)  h = Gemm (f, w)  i = Reshape (h, deep)
            k = Tanh (i)  l = Add (k, d)  m = Reshape (l, flat)  n = Gemm (m, w)  y = Reshape (n, deep)
        }""")  # fmt: skip
    assert found.count("Reshape") == 2


def test_a_value_that_broadcasts_along_what_is_grouped_stays_as_it_is(apply: Apply) -> None:
    assert check(apply, "sink-reshapes", """
        g (float[6, 4] x, float[1, 3, 4] z) => (float[6, 4] y)
        <int64[3] deep = {2, 3, 4}, int64[2] flat = {6, 4}> {
            a = Reshape (x, deep)  b = Add (a, z)  y = Reshape (b, flat)
        }""") == ["Reshape", "Add", "Reshape"]  # fmt: skip


def test_matmuls_with_a_bias_become_products_of_matrices(apply: Apply) -> None:
    after = apply("sink-reshapes", HEADER + """
        g (float[2, N, 3] x, float[3, 3] w) => (y) <float[3] b = {1, 2, 3}> {
            a = MatMul (x, w)  c = Add (a, b)  d = Relu (c)  e = MatMul (d, w)  f = Add (b, e)
            h = Relu (f)  i = MatMul (h, w)  y = Add (i, b)
        }""")  # fmt: skip
    assert ops(after).count("Reshape") == 2
    assert [len(n.outputs[0].shape) for n in after.graph if n.op_type == "MatMul"] == [2, 2, 2]


def test_two_dynamic_dimensions_cannot_be_said_by_a_constant(apply: Apply) -> None:
    source = HEADER + """
        g (float[N, M, 3] x, float[3, 3] w) => (y) <float[3] b = {1, 2, 3}> {
            a = MatMul (x, w)  c = Add (a, b)  d = Relu (c)  e = MatMul (d, w)  f = Add (b, e)
            h = Relu (f)  i = MatMul (h, w)  y = Add (i, b)
        }"""  # fmt: skip
    assert "Reshape" not in ops(apply("sink-reshapes", source))


@pytest.mark.parametrize("size", [0, 1, 2])
def test_a_dynamic_dimension_may_have_any_size(apply: Apply, size: int) -> None:
    import numpy as np

    source = HEADER + """
        g (float[N, 4, 3] x) => (y) <int64[2] flat = {-1, 3}, int64[3] deep = {-1, 4, 3}> {
            a = Reshape (x, flat)  b = Relu (a)  c = Reshape (b, deep)  d = Exp (c)  e = Reshape (d, flat)  y = Neg (e)
        }"""  # fmt: skip
    after = apply("sink-reshapes", source)
    assert ops(after).count("Reshape") == 1
    feeds = {"x": np.ones((size, 4, 3), np.float32)}
    before = load(onnx.parser.parse_model(source))
    assert holds("exact", compare(list(run(before, [feeds])), list(run(after, [feeds]))))[0]


def random_graph(seed: int, reshapes: bool) -> onnx.ModelProto:
    g = Sketch(random.Random(seed))
    values: list[tuple[str, tuple[int, ...]]] = []

    def add(name: str, shape: Any) -> None:
        values.append((name, tuple(shape)))

    rare = ["softmax"] if reshapes else ["concat", "split", "softmax", "reduce"]
    for _ in range(2):
        add(g.input([2, 3, 4], static=True), [2, 3, 4])
    for _ in range(g.integer(8, 20)):
        x, shape = g.pick(values[-3:])
        alike = [name for name, other in values if other == shape]
        kind = g.pick(["move"] * 4 + ["unary", "binary", "binary", "constant", *rare])
        if kind == "move" and shape and not reshapes:
            perm = [1, 0, *range(2, len(shape))] if len(shape) > 1 and g.flag() else list(range(len(shape)))[::-1]
            add(g.Transpose(x, perm=perm), [shape[a] for a in perm])
        elif kind == "move":
            target = g.pick([[2, 3, 4], [6, 4]])
            if math.prod(shape) == 24:
                add(g.Reshape(x, g.constant(target)), target)
        elif kind == "unary":
            add(g.op(g.pick(["Neg", "Relu", "Tanh"]), x), shape)
        elif kind == "binary":
            add(g.op(g.pick(["Add", "Sub", "Max"]), x, g.pick(alike)), shape)
        elif kind == "constant" and shape:
            rank = g.integer(0, len(shape))
            add(g.Mul(x, g.constant(g.normal(*[g.pick([1, n]) for n in shape[len(shape) - rank :]]))), shape)
        elif kind == "concat" and shape:
            axis = g.integer(-len(shape), len(shape) - 1)
            wide = list(shape)
            wide[axis] *= 2
            add(g.Concat(x, g.pick(alike), axis=axis), wide)
        elif kind == "split" and shape and shape[-1] % 2 == 0:
            for part in g.op("Split", x, outputs=2, axis=-1):
                add(part, [*shape[:-1], shape[-1] // 2])
        elif kind == "softmax" and shape:
            add(g.Softmax(x, axis=g.integer(-len(shape), len(shape) - 1)), shape)
        elif kind == "reduce" and shape:
            axis, keep = g.integer(0, len(shape) - 1), g.flag()
            left = [1 if a == axis else n for a, n in enumerate(shape) if keep or a != axis]
            add(g.ReduceSum(x, g.constant([axis]), keepdims=int(keep)), left)
    for name, _ in values[-g.integer(1, 3) :]:
        g.output(name)
    return g.model()


@pytest.mark.parametrize("name", ["sink-transposes", "sink-reshapes"])
@pytest.mark.parametrize("batch", range(6))
def test_random_graphs_keep_their_outputs_and_never_grow(name: str, batch: int) -> None:
    changed = 0
    for seed in range(40 * batch, 40 * batch + 40):
        proto = random_graph(seed, name == "sink-reshapes")
        after = load(proto)
        infer_shapes(after)
        PASSES.find("eliminate-dead-code").load()().run(after, Context())
        nodes = count_nodes(after)
        changed += PASSES.find(name).load()().run(after, Context()).rewrites
        validate(after)
        assert count_nodes(after) <= nodes, seed
        assert same(proto, after), seed
    assert changed
