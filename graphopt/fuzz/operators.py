"""Operators put on values that exist: one small function a family picks operands and attributes that are valid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphopt.fuzz.piece import Known, Piece

Family = Callable[[Piece, Known], object]
"""Puts operators on a value; returns nothing of use where it finds that it cannot."""

_UNARY = (
    "Abs", "Neg", "Relu", "Sigmoid", "Tanh", "Floor", "Ceil", "Round", "Sign", "Identity", "LeakyRelu", "HardSigmoid",
    "HardSwish", "Softplus", "Softsign", "Elu", "Selu", "Sin", "Cos", "Erf", "Atan", "ThresholdedRelu", "Celu",
    "Reciprocal", "Exp",
)  # fmt: skip
_BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu", "Add", "Mul", "Sub", "Mod")
_COMPARE = ("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal")
_LOGIC = ("And", "Or", "Xor")
_REDUCE = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceProd")
_FLOATS = "f"


def _output(g: Piece, *names: str) -> None:
    for name in names:
        g.output(name)


def _other(g: Piece, x: Known) -> str:
    """Something that broadcasts with a value: of its type, constant or not, perhaps itself or something special."""
    dtype = x.arrays[0].dtype
    partner = g.any(lambda v: v.dtype == x.dtype and _broadcasts(v.shape, x.shape))
    if partner is not None and g.flag():
        return g.take(partner)
    rank = len(x.shape)
    shape = [g.pick([size, 1]) for size in x.shape][g.integer(0, rank) :]
    if g.flag() and g.flag():
        shape = [1] * g.integer(0, 2) + shape
    special = g.pick([0.0, -0.0, 1.0, -1.0, 2.0, 0.5]) if g.flag() else None
    array = g.normal(*shape) if special is None else np.full(shape, special)
    if dtype.kind in "iu":
        array = np.abs(array * 3) if dtype.kind == "u" else array * 3
    elif dtype.kind == "b":
        array = array > 0
    return str(g.constant(array.astype(dtype)) if g.flag() else g.fed(array.astype(dtype)))


def _broadcasts(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    pairs = zip(reversed(one), reversed(other), strict=False)
    return all(a == b or 1 in (a, b) for a, b in pairs)


def unary(g: Piece, x: Known) -> None:
    """One function, or a chain of them."""
    if x.arrays[0].dtype.kind == "b":
        return g.output(g.Not(g.take(x)))
    if x.arrays[0].dtype.kind in "iu":
        names = ("Abs", "Identity") if x.arrays[0].dtype.kind == "u" else ("Abs", "Neg", "Sign", "Identity")
        return g.output(g.op(g.pick(names), g.take(x)))
    value = g.take(x)
    for _ in range(g.integer(1, 3)):
        value = g.op(g.pick(_UNARY), value)
    return g.output(value)


def binary(g: Piece, x: Known) -> None:
    """Arithmetic, comparison or logic with something that broadcasts."""
    kind = x.arrays[0].dtype.kind
    pair = [g.take(x), _other(g, x)]
    if g.flag() and kind != "f":
        pair.reverse()
    if kind == "b":
        return g.output(g.op(g.pick(_LOGIC), *pair))
    if g.integer(0, 5) == 0:
        return g.output(g.op(g.pick(_COMPARE), *pair))
    if kind in "iu":
        return g.output(g.op(g.pick(["Add", "Sub", "Mul", "Max", "Min"]), *pair))
    name = g.pick(_BINARY)
    if name != "PRelu" and g.flag():
        pair.reverse()
    return g.output(g.Mod(*pair, fmod=1) if name == "Mod" else g.op(name, *pair))


def select(g: Piece, x: Known) -> None:
    """Where, with a condition that is computed or constant."""
    other = _other(g, x)
    mask = g.any(lambda v: v.arrays[0].dtype.kind == "b" and _broadcasts(v.shape, x.shape))
    condition = g.take(mask) if mask is not None else g.constant(g.normal(*x.shape) > 0)
    return g.output(g.Where(condition, g.take(x), other))


def move(g: Piece, x: Known) -> None:
    """Movements of elements: several in a row, which is what rules merge."""
    value, shape = g.take(x), list(x.shape)
    for _ in range(g.integer(1, 3)):
        value, shape = _moved(g, value, shape)
    return g.output(value, rank=len(shape))


def _moved(g: Piece, value: str, shape: list[int]) -> tuple[str, list[int]]:
    rank = len(shape)
    kind = g.pick(["transpose", "reshape", "unsqueeze", "squeeze", "flatten", "slice", "pad", "expand"])
    if kind == "transpose" and rank:
        perm = g.permutation(rank)
        return g.Transpose(value, perm=perm), [shape[axis] for axis in perm]
    if kind == "squeeze" and 1 in shape:
        axis = shape.index(1)
        return g.Squeeze(value, g.constant(np.array([axis]))), shape[:axis] + shape[axis + 1 :]
    if kind == "flatten" and rank:
        axis = g.integer(0, rank)
        return g.Flatten(value, axis=axis), [int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))]
    if kind == "slice" and rank and min(shape) > 0:
        axis = g.integer(0, rank - 1)
        start, step = g.integer(0, shape[axis] - 1), g.pick([1, 1, 2, -1])
        end = shape[axis] if step > 0 else -(2**31)
        size = len(range(shape[axis])[start : end if step > 0 else None : step])
        parts = [np.array([number]) for number in (start, end, g.pick([axis, axis - rank]), step)]
        return g.Slice(value, *map(g.constant, parts)), [*shape[:axis], size, *shape[axis + 1 :]]
    if kind == "pad" and rank and np.prod(shape) < 500:
        pads = [g.integer(0, 1) for _ in range(2 * rank)]
        grown = [size + pads[i] + pads[i + rank] for i, size in enumerate(shape)]
        return g.Pad(value, g.constant(np.array(pads))), grown
    if kind == "expand" and np.prod(shape) < 500:
        grown = [g.pick([2, 3]) if size == 1 and g.flag() else size for size in shape]
        grown = [g.integer(1, 2)] * g.integer(0, 1) + grown
        return g.Expand(value, g.constant(np.array(grown, np.int64))), grown
    if kind == "reshape" and rank > 1 and g.flag():
        at = g.integer(0, rank - 2)
        merged = [*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :]]
        told = [0 if i < at and g.flag() else size for i, size in enumerate(merged)]
        if 0 not in merged and g.flag():
            told[at] = -1
        return g.Reshape(value, g.constant(np.array(told, np.int64))), merged
    axis = g.integer(0, rank)
    return g.Unsqueeze(value, g.constant(np.array([axis]))), [*shape[:axis], 1, *shape[axis:]]


def reduce(g: Piece, x: Known) -> None:
    """A reduction over some axes, by the form that the opset has."""
    if x.arrays[0].dtype.kind not in _FLOATS or not x.shape:
        return None
    name = g.pick(_REDUCE)
    axes = sorted(set(g.permutation(len(x.shape))[: g.integer(1, len(x.shape))]))
    as_input = g.opset >= 18 or (name == "ReduceSum" and g.opset >= 13)
    keep = g.integer(0, 1)
    if as_input:
        return g.output(g.op(name, g.take(x), g.constant(np.array(axes)), keepdims=keep))
    return g.output(g.op(name, g.take(x), axes=axes, keepdims=keep))


def order(g: Piece, x: Known) -> None:
    """Positions of extremes, and the largest elements."""
    if x.arrays[0].dtype.kind not in _FLOATS or not x.shape or 0 in x.shape:
        return None
    axis = g.integer(0, len(x.shape) - 1)
    if g.flag():
        keep, last = g.integer(0, 1), g.integer(0, 1)
        name = g.pick(["ArgMax", "ArgMin"])
        return g.output(g.op(name, g.take(x), axis=axis, keepdims=keep, select_last_index=last))
    count = g.integer(1, x.shape[axis])
    top = g.op("TopK", g.take(x), g.constant(np.array([count])), outputs=2, axis=axis, largest=g.integer(0, 1))
    return _output(g, *top)


def softmax(g: Piece, x: Known) -> None:
    """Softmax and its kin along an axis."""
    if x.arrays[0].dtype.kind in _FLOATS and x.shape:
        axis = g.integer(-len(x.shape), len(x.shape) - 1)
        g.output(g.op(g.pick(["Softmax", "LogSoftmax", "Softmax"]), g.take(x), axis=axis))


def joined(g: Piece, x: Known) -> None:
    """Concat with another, or with itself, and Split again."""
    if not x.shape:
        return None
    axis = g.integer(0, len(x.shape) - 1)
    others = g.any(lambda v: v.fits(x.shape, x.dtype)) or x
    both = g.Concat(g.take(x), g.take(others), axis=axis)
    if g.flag() or not x.shape[axis]:
        return g.output(both)
    total = 2 * x.shape[axis]
    first = g.integer(0, total)
    sizes = g.constant(np.array([first, total - first]))
    return _output(g, *g.op("Split", both, sizes, outputs=2, axis=axis))


def gather(g: Piece, x: Known) -> None:
    """Elements by position, constant or computed."""
    if not x.shape or 0 in x.shape:
        return None
    axis = g.integer(0, len(x.shape) - 1)
    size = x.shape[axis]
    return g.output(g.Gather(g.take(x), g.indices(-size, size - 1, g.shape(most=2)), axis=axis))


def cast(g: Piece, x: Known) -> None:
    """There and back again, or only there."""
    kind = x.arrays[0].dtype.kind
    to = g.pick([g.FLOAT, g.DOUBLE, 10, g.INT32, g.INT64, g.BOOL] if kind != "f" or x.ordinary else [g.DOUBLE])
    value = g.Cast(g.take(x), to=to)
    return g.output(g.Cast(value, to=x.dtype) if g.flag() else value)


def clip(g: Piece, x: Known) -> None:
    """Clip between constants, one of which may be missing."""
    if x.arrays[0].dtype.kind in _FLOATS:
        bounds = [np.array(v, x.arrays[0].dtype) for v in sorted([g.integer(-4, 2) / 2, g.integer(0, 12) / 2])]
        low, high = (g.constant(bound) if g.integer(0, 3) else None for bound in bounds)
        g.output(g.Clip(g.take(x), low, high))


def matmul(g: Piece, x: Known) -> None:
    """A product with a weight, with a bias or not."""
    if x.dtype != g.FLOAT or len(x.shape) < 1 or not x.ordinary:
        return None
    n = g.integer(1, 4)
    made = g.MatMul(g.take(x), g.constant(g.normal(x.shape[-1], n)))
    return g.output(g.Add(made, g.constant(g.normal(n))) if g.flag() else made)


def convolution(g: Piece, x: Known) -> None:
    """A convolution or a window over an image, and what stands behind one."""
    if x.dtype != g.FLOAT or len(x.shape) != 4 or min(x.shape) < 1 or not x.ordinary:
        return None
    channels, kernel = x.shape[1], g.integer(1, 3)
    pads = [g.integer(kernel // 2, kernel - 1) for _ in range(4)]
    if min(x.shape[2:]) + kernel < 3 or g.integer(0, 3) == 0:
        name = g.pick(["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"])
        if name.startswith("Global"):
            return g.output(g.op(name, g.take(x)))
        return g.output(g.op(name, g.take(x), kernel_shape=[kernel] * 2, pads=pads, strides=[g.integer(1, 2)] * 2))
    out = g.integer(1, 4)
    made = g.Conv(g.take(x), g.constant(g.normal(out, channels, kernel, kernel)), pads=pads)
    if g.flag():
        statistics = [g.constant(array) for array in (g.normal(out), g.normal(out), g.normal(out), g.positive(out))]
        made = g.BatchNormalization(made, *statistics)
    return g.output(g.Relu(made) if g.flag() else made)


def quantized(g: Piece, x: Known) -> None:
    """QuantizeLinear and DequantizeLinear around nothing or around a cheap operator."""
    if x.dtype != g.FLOAT or not x.ordinary:
        return None
    dtype = g.pick([np.int8, np.uint8])
    scale, zero = g.constant(np.float32(g.pick([0.1, 0.05, 1.0]))), g.constant(np.array(g.integer(0, 5), dtype))
    value = g.DequantizeLinear(g.QuantizeLinear(g.take(x), scale, zero), scale, zero)
    if g.flag():
        value = g.Relu(value)
        value = g.DequantizeLinear(g.QuantizeLinear(value, scale, zero), scale, zero)
    return g.output(value)


def shapes(g: Piece, x: Known) -> None:
    """Arithmetic on a shape that ends in a Reshape, as exporters write it."""
    name = g.take(x)
    shape = g.Shape(name)
    if not x.shape or not g.flag():
        return g.output(g.Cast(g.ReduceProd(shape, keepdims=0), to=g.FLOAT))
    kept = g.Slice(shape, g.constant(np.array([0])), g.constant(np.array([1])))
    return g.output(g.Reshape(name, g.Concat(kept, g.constant(np.array([-1])), axis=0)), rank=2)


FAMILIES: tuple[Family, ...] = (
    unary, unary, binary, binary, binary, select, move, move, move, reduce, order, softmax, joined, gather, cast, clip,
    matmul, convolution, quantized, shapes,
)  # fmt: skip
"""What is put on values, the commoner ones more than once."""
