"""Reductions along axes, and what searches along one: ArgMax, TopK, cumulative sums."""

from __future__ import annotations

import onnx_ir as ir

from graphopt_backends.tflite import layout
from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.layout import Layout
from graphopt_backends.tflite.lower.unary import require_float
from graphopt_backends.tflite.onnx_node import axes_of, axis_of, fixed, integer, required, setting
from graphopt_backends.tflite.registry import Decline, lowering

_BUILTINS = {
    "ReduceMax": "REDUCE_MAX",
    "ReduceMean": "MEAN",
    "ReduceMin": "REDUCE_MIN",
    "ReduceProd": "REDUCE_PROD",
    "ReduceSum": "SUM",
}
_ON_BOOLEANS = {"ReduceMax": "REDUCE_ANY", "ReduceMin": "REDUCE_ALL"}
_COMPOSED = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare")


def reduce_stored(e: Emitter, builtin: str, x: int, axes: list[int], keep: bool = True) -> int:
    """Write a reduction of a tensor along stored axes."""
    shape = e.shape_of(x)
    made = [1 if axis in axes else dim for axis, dim in enumerate(shape) if keep or axis not in axes]
    return e.op(builtin, [x, e.indices(axes)], made, "ReducerOptions", keepDims=keep)


@lowering(*_BUILTINS, *_COMPOSED)
def reduce(node: ir.Node, e: Emitter) -> None:
    """A reduction in the layout of its input; norms and logarithms around SUM."""
    x, y = required(node, 0), node.outputs[0]
    where, rank = e.layout(x), e.rank(x)
    axes = axes_of(setting(node, e, "axes", 1) or [], rank)
    if not axes and integer(node, "noop_with_empty_axes", 0):
        raise Decline("noop_with_empty_axes without axes")
    axes = axes or list(range(rank))
    if e.dtype(x) != "float32" and node.op_type in (*_COMPOSED, "ReduceMean"):
        require_float(node, e)
    stored = sorted(where.index(axis) for axis in axes)
    whole = _compute(e, node.op_type, e.read(x, where), stored) if rank else e.read(x)
    kept = bool(integer(node, "keepdims", 1))
    after: Layout = where if kept else layout.without(where, axes)
    e.write(y, e.reshape(whole, layout.stored(e.shape(y), after)), after)


def _compute(e: Emitter, name: str, x: int, axes: list[int]) -> int:
    if e.dtype_of(x) == "bool":
        return reduce_stored(e, _ON_BOOLEANS.get(name, "SUM"), x, axes)
    match name:
        case "ReduceL1":
            return reduce_stored(e, "SUM", e.unary("ABS", x), axes)
        case "ReduceL2":
            return e.unary("SQRT", reduce_stored(e, "SUM", e.unary("SQUARE", x), axes))
        case "ReduceSumSquare":
            return reduce_stored(e, "SUM", e.unary("SQUARE", x), axes)
        case "ReduceLogSum":
            return e.unary("LOG", reduce_stored(e, "SUM", x, axes))
        case "ReduceLogSumExp":
            # Shifted by the largest element, so that the exponential does not overflow.
            top = reduce_stored(e, "REDUCE_MAX", x, axes)
            total = reduce_stored(e, "SUM", e.unary("EXP", e.binary("SUB", x, top)), axes)
            return e.binary("ADD", e.unary("LOG", total), top)
        case _:
            return reduce_stored(e, _BUILTINS[name], x, axes)


@lowering("ArgMax", "ArgMin")
def arg(node: ir.Node, e: Emitter) -> None:
    """ARG_MAX and ARG_MIN, which return the first of equal elements."""
    x, y = required(node, 0), node.outputs[0]
    where = e.layout(x)
    axis = axis_of(integer(node, "axis", 0), len(where))
    if integer(node, "select_last_index", 0):
        raise Decline("select_last_index=1; LiteRT returns the first of equal elements")
    stored, data = where.index(axis), e.read(x, where)
    made = [dim for position, dim in enumerate(e.shape_of(data)) if position != stored]
    builtin, table = ("ARG_MAX", "ArgMaxOptions") if node.op_type == "ArgMax" else ("ARG_MIN", "ArgMinOptions")
    # 4 is the schema's INT64, which ONNX's indices are.
    found = e.op(builtin, [data, e.indices(stored)], made, table, dtype="int64", outputType=4)
    after = where if integer(node, "keepdims", 1) else layout.without(where, [axis])
    e.write(y, e.reshape(found, layout.stored(e.shape(y), after)), after)


@lowering("TopK")
def top_k(node: ir.Node, e: Emitter) -> None:
    """TOPK_V2 along the last axis, with indices cast to int64."""
    x = required(node, 0)
    if not integer(node, "largest", 1) or not integer(node, "sorted", 1):
        raise Decline("LiteRT's TOPK_V2 returns the largest elements, sorted")
    count = fixed(node, e, 1, "K")
    k = integer(node, "k", 0) if count is None else int(count.item())
    axis = axis_of(integer(node, "axis", -1), e.rank(x))
    where = layout.axis_last(e.layout(x), axis)
    data = e.read(x, where)
    made = (*e.shape_of(data)[:-1], k)
    values, places = e.op_many("TOPK_V2", [data, e.indices(k)], [made, made], "TopKV2Options", dtypes=[None, "int32"])
    e.write(node.outputs[0], values, where)
    e.write(node.outputs[1], e.cast(places, "int64"), where)


@lowering("CumSum")
def cumulative_sum(node: ir.Node, e: Emitter) -> None:
    """CUMSUM."""
    x, axis = required(node, 0), fixed(node, e, 1, "the axis")
    where = e.layout(x)
    stored = where.index(axis_of(int(axis.item()) if axis is not None else 0, len(where)))
    data = e.read(x, where)
    y = e.op(
        "CUMSUM", [data, e.indices(stored)], e.shape_of(data), "CumsumOptions",
        exclusive=bool(integer(node, "exclusive", 0)), reverse=bool(integer(node, "reverse", 0)),
    )  # fmt: skip
    e.write(node.outputs[0], y, where)
