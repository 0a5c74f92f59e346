"""Write reductions in the forms that backends have.

    x ─ ReduceX ─ y                          becomes      x ─ ReduceX(axes: all) ─ y
    x ─ ReduceX(no axes, noop=1) ─ y         becomes      f(x): what the reduction of one element is
    x ─ ReduceProd(axis) ─ y                 becomes      halves of x multiplied, and again, along each axis
    x[bool] ─ ReduceMax ─ y                  becomes      x ─ Cast(int32) ─ ReduceMax ─ Cast(bool) ─ y, as ReduceMin
    x ─ ReduceMin ─ y                        becomes      y = -ReduceMax(-x)
    x[int32] ─ ReduceMean ─ y                becomes      y = ReduceSum(x) / count
    x[int32] ─ ReduceL1 ─ y                  becomes      y = ReduceSum(|x|), ReduceSumSquare likewise
    x[0] ─ ReduceX ─ y                       becomes      a constant

Fidelity: rounding; exact of integers and for maxima.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import keeps_dims, reduce, reduced_axes
from graphopt_passes.canonicalize.merge_slices import size_of, slice_by
from graphopt_passes.canonicalize.merge_squeezes import squeeze
from graphopt_passes.scalars import is_float, number, rank_of

_KINDS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
_INTEGERS = (ir.DataType.INT32, ir.DataType.INT64)
_ALONE = {
    "ReduceL1": lambda op, x: op.Abs(x),
    "ReduceL2": lambda op, x: op.Abs(x),
    "ReduceLogSum": lambda op, x: op.Log(x),
    "ReduceSumSquare": lambda op, x: op.Mul(x, x),
}
"""What a reduction of a single element computes, where that is not the element."""
_EMPTY = {"ReduceProd": 1.0, "ReduceMax": -math.inf, "ReduceMin": math.inf, "ReduceLogSum": -math.inf,
          "ReduceLogSumExp": -math.inf, "ReduceMean": math.nan}  # fmt: skip
"""What is left of no element at all, where that is not 0 (ONNX, the operators)."""


def _rule(name, kinds, fidelity="rounding"):
    return rule(name, fidelity=fidelity)(lambda p: p.op(kinds, p.x, p.rest("axes")))


spelled, alone = _rule("all-axes-spelled-out", _KINDS, "exact"), _rule("reduce-nothing", _KINDS)
product, boolean = _rule("multiply-halves", ("ReduceProd",)), _rule("bool-extreme", ("ReduceMax", "ReduceMin"), "exact")
minimum, mean = _rule("maximum-of-negatives", ("ReduceMin",), "exact"), _rule("sum-by-count", ("ReduceMean",))
integer, empty = _rule("integer-sums", ("ReduceL1", "ReduceSumSquare"), "exact"), _rule("reduce-no-elements", _KINDS)


def _bare(m) -> bool:
    """Whether no axes are given."""
    return not m.axes and attribute(m.root, "axes") is None


def _again(op, m, op_type, x):
    return reduce(op, op_type, x, reduced_axes(m.root), keepdims=keeps_dims(m.root))


@spelled.require("it has no axes, and the rank is known")
def _(m):
    return _bare(m) and bool(reduced_axes(m.root))


@spelled.replace
def _(op, m):
    return _again(op, m, m.root.op_type, m.x)


@alone.require("it goes over no axes at all")
def _(m):
    return reduced_axes(m.root) == () and bool(attribute(m.root, "noop_with_empty_axes") or rank_of(m.x) == 0)


@alone.replace
def _(op, m):
    return _ALONE.get(m.root.op_type, lambda op, x: op.Identity(x))(op, m.x)


@product.require("the sizes along its axes are known, and none is zero")
def _(m):
    axes = reduced_axes(m.root)
    return bool(axes) and all(size_of(m.x, axis) for axis in axes)


@product.replace
def _(op, m):
    axes = reduced_axes(m.root)
    made = functools.reduce(lambda x, axis: _along(op, x, axis, size_of(m.x, axis)), axes, m.x)
    if keeps_dims(m.root):
        return op.Identity(made) if made is m.x else made
    return squeeze(op, made, list(axes))


def _along(op, x, axis, size):
    odd = None
    while size > 1:
        half = size // 2
        first, second = (slice_by(op, x, {axis: (start, start + half, 1)}) for start in (0, half))
        if size % 2:
            last = slice_by(op, x, {axis: (size - 1, size, 1)})
            odd = last if odd is None else op.Mul(odd, last)
        x, size = op.Mul(first, second), half
    return x if odd is None else op.Mul(x, odd)


boolean.require("it is of booleans, and its axes are known")(
    lambda m: m.x.dtype == ir.DataType.BOOL and bool(reduced_axes(m.root))
)


@boolean.replace
def _(op, m):
    found = _again(op, m, m.root.op_type, op.Cast(m.x, to=int(ir.DataType.INT32)))
    return op.Cast(found, to=int(ir.DataType.BOOL))


@minimum.require("it is of a type with negatives, and its axes are known")
def _(m):
    return (is_float(m.x) or m.x.dtype in _INTEGERS) and bool(reduced_axes(m.root))


@minimum.replace
def _(op, m):
    # -1 - x, unlike -x, stays within the integers
    turned = op.Neg if is_float(m.x) else functools.partial(op.Sub, number(m.x, -1))
    return turned(_again(op, m, "ReduceMax", turned(m.x)))


@mean.require("the sizes along its axes are known, and none is zero")
def _(m):
    axes = reduced_axes(m.root)
    return (is_float(m.x) or m.x.dtype in _INTEGERS) and bool(axes) and all(size_of(m.x, axis) for axis in axes)


@mean.replace
def _(op, m):
    count = math.prod(size_of(m.x, axis) for axis in reduced_axes(m.root))
    if not is_float(m.x):
        return op.Div(_again(op, m, "ReduceSum", m.x), number(m.x, count))
    # divided first, so that nothing overflows that the mean does not
    return _again(op, m, "ReduceSum", op.Mul(m.x, number(m.x, 1 / count)))


integer.require("it is of integers, and its axes are known")(
    lambda m: m.x.dtype in _INTEGERS and bool(reduced_axes(m.root))
)


@integer.replace
def _(op, m):
    return _again(op, m, "ReduceSum", _ALONE[m.root.op_type](op, m.x))


@empty.require("it has no elements, and its result has a known shape")
def _(m):
    shape, after = static_shape(m.x), static_shape(m.root.outputs[0])
    return shape is not None and 0 in shape and after is not None and m.x.dtype is not None


@empty.replace
def _(op, m):
    dtype = m.x.dtype.numpy()
    content = _EMPTY.get(m.root.op_type, 0.0)
    if m.x.dtype == ir.DataType.BOOL:
        content = content > 0
    elif not is_float(m.x) and not math.isfinite(content):
        if math.isnan(content):
            raise op.decline("the mean of no integers is not defined")
        content = np.iinfo(dtype).max if content > 0 else np.iinfo(dtype).min
    return op.Identity(np.full(static_shape(m.root.outputs[0]), content, dtype))


def _sketch(g, kinds, dtypes, *, bare=False, **options):
    kind, dtype = g.pick(kinds), g.pick(dtypes)
    g.since(20 if dtype == g.BOOL else 13)
    shape = g.shape(least=1)
    x = g.input(shape, dtype, static=True, finite=True)
    axes = [] if bare else [g.integer(0, len(shape) - 1)]
    more, options = ([], options | ({"axes": axes} if axes else {}))
    if axes and g.opset >= (13 if kind == "ReduceSum" else 18):
        more = [g.constant(np.array(options.pop("axes"), np.int64))]
    g.output(g.op(kind, x, *more, **options, keepdims=g.integer(0, 1)))


@spelled.example
def _(g):
    _sketch(g, ["ReduceMax", "ReduceSum", "ReduceProd"], [g.FLOAT, g.INT32], bare=True)


@alone.example
def _(g):
    g.since(18)
    _sketch(g, ["ReduceL1", "ReduceL2", "ReduceMax", "ReduceSumSquare"], [g.FLOAT], bare=True, noop_with_empty_axes=1)


@product.example
def _(g):
    _sketch(g, ["ReduceProd"], [g.FLOAT])


@product.example
def _(g):
    # small ones: onnxruntime's products of integers are clipped where they leave the type
    shape, kind = g.shape(least=1), g.pick([np.int32, np.int64])
    x = g.input(shape, {np.int32: g.INT32, np.int64: g.INT64}[kind], static=True)
    small = g.Sub(g.Mod(x, g.constant(np.array(6, kind))), g.constant(np.array(2, kind)))
    made = g.op("ReduceProd", small, axes=[g.integer(0, len(shape) - 1)], keepdims=1) if g.opset < 18 else None
    g.output(made or g.ReduceProd(small, g.constant(np.array([0], np.int64)), keepdims=1))


@boolean.example
def _(g):
    _sketch(g, ["ReduceMax", "ReduceMin"], [g.BOOL])


@minimum.example
def _(g):
    _sketch(g, ["ReduceMin"], [g.FLOAT, g.INT32])


@mean.example
def _(g):
    _sketch(g, ["ReduceMean"], [g.FLOAT, g.DOUBLE])


@integer.example
def _(g):
    _sketch(g, ["ReduceL1", "ReduceSumSquare"], [g.INT32])


@empty.example
def _(g):
    g.since(18)
    x = g.input([0, 3], static=True)
    kind = g.pick(["ReduceSum", "ReduceProd", "ReduceSumSquare", "ReduceMax", "ReduceMin"])
    g.output(g.op(kind, x, g.constant(np.array([0], np.int64)), keepdims=g.integer(0, 1)))


class DecomposeRareReductions(Substitution):
    """Write reductions without axes, of products, booleans, integers and nothing in the plain forms."""

    name = "decompose-rare-reductions"
    rules = (spelled, alone, product, boolean, minimum, mean, integer, empty)
