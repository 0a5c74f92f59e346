"""Average and norm of windows by sums that a Conv takes, for backends that lack an option or get it wrong.

    x ─ AveragePool ─ y          becomes    x ─ Pad(0) ─ Conv(1 / K, by channels) ─ Mul(K / n) ─ y
    x ─ LpPool(p) ─ y            becomes    x ─ Abs ─ Pow(p) ─ Pad(0) ─ Conv(1, by channels) ─ Pow(1 / p) ─ y
    x ─ GlobalAveragePool ─ y    becomes    x ─ ReduceMean ─ y
    x ─ GlobalLpPool(p) ─ y      becomes    x ─ Abs ─ Pow(p) ─ ReduceSum ─ Pow(1 / p) ─ y, or a ReduceL1 or L2

K is the size of the window and n how many of its elements count: those in the input, or with count_include_pad those in
the padding as well, but never those that ceil_mode reaches behind it (ONNX operator AveragePool). Where they are equal
everywhere there is no Mul. Three axes take two Convs, since a sum over a box is one over rows of sums over planes, and
few backends have a Conv of three axes with groups or dilations. No AveragePool is left, since QNN's compiler takes a
Pad in front of one into it and then divides by the wrong count. Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.edit import static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.legalize.decompose_dilations import spread
from graphopt_passes.parts import pad, reshape
from graphopt_passes.scalars import is_float, number, rank_of
from graphopt_passes.windows import window


@rule("average-by-conv", fidelity="rounding")
def average(p):
    return p.AveragePool(p.x)


@rule("norm-by-conv", fidelity="rounding")
def norm(p):
    return p.LpPool(p.x)


for one in (average, norm):
    one.require("it is floating point, and the sizes of its input are known")(
        lambda m: is_float(m.x) and window(m.root) is not None
    )


@average.require("every window has an element that counts")
def _(m):
    return bool(_counts(m.root).all())


def _counts(node) -> np.ndarray:
    return window(node).counts(pads=bool(attribute(node, "count_include_pad")))


@average.replace
def _(op, m):
    found = window(m.root)
    dtype = m.x.dtype.numpy()
    total = window_sums(op, m.x, static_shape(m.x), found, dtype, mean=True)
    factors = math.prod(found.kernel) / _counts(m.root)
    return total if (factors == 1).all() else op.Mul(total, factors[None, None].astype(dtype))


@norm.replace
def _(op, m):
    p, dtype = attribute(m.root, "p"), m.x.dtype.numpy()
    return _root(op, m.x, p, window_sums(op, _power(op, m.x, p), static_shape(m.x), window(m.root), dtype))


def _power(op, x, p):
    return op.Abs(x) if p == 1 else op.Mul(x, x) if p == 2 else op.Pow(op.Abs(x), number(x, p))


def _root(op, x, p, total):
    if p < 1:
        raise op.decline(f"there is no norm of the order {p}")
    return total if p == 1 else op.Sqrt(total) if p == 2 else op.Pow(total, number(x, 1 / p))


def window_sums(op, x, shape, found, dtype, *, mean=False):
    """The sum of each window, or the sum divided by the size of the window; zeros stand for the padding.

    Args:
        op: makes the nodes.
        x: a floating-point value of the shape [N, C, …].
        shape: its sizes.
        found: the window.
        dtype: numpy's of x.
        mean: whether to divide.
    """
    batch, channels, *sizes = shape
    before, beyond = list(found.before), [max(0, one) for one in found.beyond]
    x = pad(op, x, [0, 0, *before], [0, 0, *beyond], dtype=dtype)
    sizes = [a + b + c for a, b, c in zip(before, sizes, beyond, strict=True)]
    if found.rank < 3:
        return _summed(op, x, channels, found, range(found.rank), mean, dtype)
    planes = reshape(op, x, [batch, channels * sizes[0], *sizes[1:]])
    inner = _summed(op, planes, channels * sizes[0], found, (1, 2), mean, dtype)
    deep = reshape(op, inner, [batch, channels, sizes[0], math.prod(found.outputs[1:])])
    return reshape(op, _summed(op, deep, channels, found, (0,), mean, dtype), [batch, channels, *found.outputs])


def _summed(op, x, channels, found, axes, mean, dtype):
    rest = [1] * (min(found.rank, 2) - len(axes))
    kernel, strides, dilations = (
        [values[axis] for axis in axes] + rest for values in (found.kernel, found.strides, found.dilations)
    )
    weight = np.full((channels, 1, *kernel), 1 / math.prod(kernel) if mean else 1, dtype)
    if any(step > 1 for step in strides) and any(step > 1 for step in dilations):
        # QNN refuses a depthwise Conv that strides and dilates
        weight, dilations = spread(weight, dilations), [1] * len(kernel)
    return op.Conv(
        x, weight, group=channels, kernel_shape=list(weight.shape[2:]), strides=strides, dilations=dilations
    )  # fmt: skip


@rule("global-average", fidelity="rounding")
def global_average(p):
    return p.GlobalAveragePool(p.x)


@rule("global-norm", fidelity="rounding")
def global_norm(p):
    return p.GlobalLpPool(p.x)


for one in (global_average, global_norm):
    one.require("it is floating point, and its rank is known")(lambda m: is_float(m.x) and (rank_of(m.x) or 0) > 2)


def _spatial(m):
    return list(range(2, rank_of(m.x)))


@global_average.replace
def _(op, m):
    return reduce(op, "ReduceMean", m.x, _spatial(m))


@global_norm.replace
def _(op, m):
    p = attribute(m.root, "p")
    if p in (1, 2):
        return reduce(op, f"ReduceL{p}", m.x, _spatial(m))
    return _root(op, m.x, p, reduce(op, "ReduceSum", _power(op, m.x, p), _spatial(m)))


def pooled_input(g, rank, least=4, most=7, finite=False):
    """An input for a pooling over `rank` axes."""
    sizes = [g.integer(least, most) for _ in range(rank)]
    return g.input([g.integer(1, 2), g.integer(1, 3), *sizes], static=True, finite=finite)


def geometry(g, rank):
    """Random attributes of a pooling's window that every runtime takes on sizes from 4 on."""
    kernel = [g.integer(1, 3) for _ in range(rank)]
    how = g.pick(["NOTSET", "NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])
    options = {"kernel_shape": kernel, "strides": [g.integer(1, 3) for _ in range(rank)]}
    if how == "NOTSET":
        options["pads"] = [g.integer(0, size - 1) for size in kernel * 2]
        options["ceil_mode"] = g.integer(0, 1)
    else:
        options["auto_pad"] = how
        options["strides"] = [min(size, step) for size, step in zip(kernel, options["strides"], strict=True)]
    return options


@average.example
def _(g):
    rank = g.integer(1, 3)
    options = geometry(g, rank)
    if "auto_pad" not in options and g.flag():
        g.since(19)
        options["dilations"] = [g.integer(1, 2) if size < 3 else 1 for size in options["kernel_shape"]]
    # between elements that a dilated window skips are zeros, and those times infinity are no number
    finite = max(options.get("dilations", [1])) > 1
    g.output(g.AveragePool(pooled_input(g, rank, finite=finite), count_include_pad=g.integer(0, 1), **options))


@norm.example
def _(g):
    rank = g.integer(1, 3)
    options = geometry(g, rank)
    if g.opset < 18:
        options.pop("ceil_mode", None)
    g.output(g.LpPool(pooled_input(g, rank, finite=True), p=g.integer(1, 3), **options))


@global_average.example
def _(g):
    g.output(g.GlobalAveragePool(g.input([g.integer(1, 5) for _ in range(g.integer(3, 5))])))


@global_norm.example
def _(g):
    g.output(g.GlobalLpPool(g.input([g.integer(1, 5) for _ in range(g.integer(3, 5))], finite=True), p=g.integer(1, 3)))


class DecomposeAveragePool(Substitution):
    """Write AveragePool and LpPool as a Conv by channels, and what is global as a reduction."""

    name = "decompose-average-pool"
    rules = (average, norm, global_average, global_norm)
