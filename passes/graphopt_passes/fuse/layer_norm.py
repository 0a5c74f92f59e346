"""Recognize LayerNormalization in the arithmetic that exporters write for it.

    x ─┬─ Sub ─┬──────────────────────────── Div ─ y
       └─ μ ───┘└─ (·)² ─ mean ─ Add(ε) ─ √ ──┘            becomes      x ─ LayerNormalization(1, ε) ─ y

over any number of last axes, with √ as Sqrt, Pow, Reciprocal or 1 / √, and also the form that multiplies out,
x·k + (β - μ·k) with k = γ / √(σ² + ε). Scale and bias are then taken in by `fuse-norm-affine`.

(Ba et al., arXiv:1607.06450, section 3.) LayerNormalization is of opset 17; in double precision it may compute in
single, so that is left alone. Where each channel has statistics of its own, see `fuse-instance-norm`.
Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, opset_of, readers, shape_of, static_shape
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.axes import ends_at_last, keeps_dims, reduced_axes
from graphopt_passes.scalars import inverse_root, keeps_rank, root, single, square

SINCE = 17
TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def centered(p):
    """x - mean(x), under the names x and mean."""
    return p.Sub(p.x, p.op("ReduceMean", p.x, p.rest("mean_axes"), as_="mean"))


def spread(p, distance):
    """mean(distance²) + ε, under the names variance and epsilon."""
    variance = p.op("ReduceMean", square(p, distance), p.rest("variance_axes"), as_="variance")
    return p.Add(variance, p.constant("epsilon", where=single))


def over(p):
    """The core as a quotient."""
    distance = centered(p)
    return p.Div(distance, root(p, spread(p, distance)))


def by_inverse(p):
    """The core as a product."""
    distance = centered(p)
    return p.Mul(distance, inverse_root(p, spread(p, distance)))


def statistics(m) -> tuple[int, ...] | str:
    """The axes that both means of a core go over, or why there is no such core."""
    axes = reduced_axes(m.mean)
    if axes is None or axes != reduced_axes(m.variance):
        return "mean and variance are not over the same known axes"
    if not keeps_dims(m.mean) or not keeps_dims(m.variance):
        return "the means do not keep their axes"
    if not keeps_rank(m, m.x) or not (m.epsilon.astype(np.float64) > 0).all():
        return "epsilon is not a positive number"
    return axes


def _normalized(m) -> list[int] | str:
    """The sizes of the axes that a core normalizes."""
    axes, shape = statistics(m), shape_of(m.x)
    if isinstance(axes, str):
        return axes
    if shape is None or not ends_at_last(axes, len(shape)):
        return "the axes are not the last ones"
    if len(axes) >= 2 and axes == tuple(range(2, len(shape))):
        return "each channel has statistics of its own: that is InstanceNormalization"
    if axes == (2,) and len(shape) == 3 and _scaled_by_channel(m.root.outputs[0]):
        return "each channel has a scale of its own: that is InstanceNormalization"
    sizes = [shape[axis] for axis in axes]
    return [int(s) for s in sizes] if all(isinstance(s, int) for s in sizes) else "a normalized axis is dynamic"


def _scaled_by_channel(value: ir.Value) -> bool:
    user = next(readers(value), None)
    if user is None or user.op_type != "Mul":
        return False
    other = user.inputs[1] if user.inputs[0] is value else user.inputs[0]
    tensor = constant(other)
    return tensor is not None and len(tensor.shape) >= 2 and tensor.shape[-1] == 1 and tensor.shape[-2] != 1


def _known(m):
    if m.x.dtype not in TYPES:
        return f"the type is {m.x.dtype}"
    if opset_of(m.root.graph) < SINCE:
        return f"LayerNormalization is of opset {SINCE}"
    sizes = _normalized(m)
    return sizes if isinstance(sizes, str) else True


@rule("layer-norm-div", fidelity="rounding")
def layer_norm_div(p):
    return over(p)


@rule("layer-norm-mul", fidelity="rounding")
def layer_norm_mul(p):
    return by_inverse(p)


for one in (layer_norm_div, layer_norm_mul):
    one.require("mean and variance are over the last axes, whose sizes are known")(_known)


def _ones(m) -> np.ndarray:
    return np.ones(_normalized(m), m.x.dtype.numpy())


def _layer_norm(op, m, scale, bias=None):
    axis = -len(_normalized(m))
    return op.LayerNormalization(m.x, scale, bias, axis=axis, epsilon=float(m.epsilon.reshape(())))


for one in (layer_norm_div, layer_norm_mul):
    one.replace(lambda op, m: _layer_norm(op, m, _ones(m)))


@rule("layer-norm-multiplied-out", fidelity="rounding")
def layer_norm_multiplied_out(p):
    distance = centered(p)
    mean = distance.inputs[1]
    factor = p.Mul(inverse_root(p, spread(p, distance)), p.value("gamma"))
    return p.Add(p.Mul(p.x, factor), p.Sub(p.value("beta"), p.Mul(mean, factor)))


layer_norm_multiplied_out.require("mean and variance are over the last axes, whose sizes are known")(_known)


@layer_norm_multiplied_out.require("gamma and beta have the shape that is normalized")
def _(m):
    return all(static_shape(value) == tuple(_normalized(m)) for value in (m.gamma, m.beta))


@layer_norm_multiplied_out.replace
def _(op, m):
    return _layer_norm(op, m, m.gamma, m.beta)


def mean_of(g, x, axes):
    """ReduceMean in the form of the sketch's opset."""
    if g.opset >= 18:
        return g.ReduceMean(x, g.constant(np.array(axes, np.int64)))
    return g.ReduceMean(x, axes=list(axes))


def squared(g, x):
    """A square, one way or the other."""
    return g.Mul(x, x) if g.flag() else g.Pow(x, g.constant(2.0))


def _parts(g):
    g.since(SINCE)
    shape = [*g.shape(least=1, most=2), g.integer(3, 6)]
    axes = [-1] if g.flag() else [-2, -1]
    x = g.input(shape, static=True)
    mean = mean_of(g, x, axes)
    distance = g.Sub(x, mean)
    spread_ = g.Add(mean_of(g, squared(g, distance), axes), g.constant(g.pick([1e-5, 1e-3])))
    return x, mean, distance, g.Sqrt(spread_), shape[axes[0] :]


@layer_norm_div.example
def _(g):
    _, _, distance, deviation, _ = _parts(g)
    g.output(g.Div(distance, deviation))


@layer_norm_mul.example
def _(g):
    _, _, distance, deviation, _ = _parts(g)
    inverse = g.Reciprocal(deviation) if g.flag() else g.Div(g.constant(1.0), deviation)
    g.output(g.Mul(distance, inverse))


@layer_norm_multiplied_out.example
def _(g):
    x, mean, _, deviation, sizes = _parts(g)
    factor = g.Mul(g.Reciprocal(deviation), g.constant(g.normal(*sizes)))
    g.output(g.Add(g.Mul(x, factor), g.Sub(g.constant(g.normal(*sizes)), g.Mul(mean, factor))))


class FuseLayerNorm(RewritePass):
    """Recognize LayerNormalization in means, differences and roots."""

    name = "fuse-layer-norm"
    rules = (layer_norm_div, layer_norm_mul, layer_norm_multiplied_out)
