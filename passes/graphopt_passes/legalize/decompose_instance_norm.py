"""Write InstanceNormalization and GroupNormalization out, for backends that lack them.

    x[N, C, …] ─ InstanceNormalization(s, b) ─ y      becomes      d = x - mean(x),  y = d / √(mean(d²) + ε) · s + b
    x ─ GroupNormalization(s, b) ─ y                  becomes      x ─ Reshape[N, G, -1] ─ InstanceNormalization(1, 0) ─
                                                                       Reshape(shape of x) ─ Mul(s) ─ Add(b) ─ y

with means over all axes behind the channels. From opset 21 on GroupNormalization has a scale for each channel, before
for each group. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import shape_of
from graphopt.ir.infer import dims_of
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.canonicalize.merge_reshapes import target
from graphopt_passes.scalars import is_float, number, rank_of

PER_CHANNEL_SINCE = 21
"""Opset from which GroupNormalization has a scale and a bias for each channel."""


@rule("write-out-instance-norm", fidelity="rounding")
def instance_norm(p):
    return p.InstanceNormalization(p.x, p.constant("scale"), p.constant("bias"), epsilon=p.attribute("epsilon"))


@instance_norm.require("it is floating point with axes behind the channels")
def _(m):
    return is_float(m.x) and (rank_of(m.x) or 0) > 2


@instance_norm.replace
def _(op, m):
    rank = rank_of(m.x)
    axes, spread = list(range(2, rank)), (-1, *[1] * (rank - 2))
    distance = op.Sub(m.x, reduce(op, "ReduceMean", m.x, axes))
    mean = reduce(op, "ReduceMean", op.Mul(distance, distance), axes)
    result = op.Div(distance, op.Sqrt(op.Add(mean, number(m.x, m.epsilon))))
    result = result if (m.scale == 1).all() else op.Mul(result, m.scale.reshape(spread))
    return result if not m.bias.any() else op.Add(result, m.bias.reshape(spread))


@rule("write-out-group-norm", fidelity="rounding")
def group_norm(p):
    return p.GroupNormalization(
        p.x, p.constant("scale"), p.constant("bias"), num_groups=p.attribute("groups"), epsilon=p.attribute("epsilon")
    )


@group_norm.require("its channels are known, and so is the way back to its shape")
def _(m):
    shape = shape_of(m.x)
    known = is_float(m.x) and shape is not None and len(shape) > 2 and isinstance(shape[1], int)
    return known and (dims_of(m.x) is not None) and _back(m) is not None


def _back(m) -> list[int] | None:
    return target(None, dims_of(m.x), fragile=True)


@group_norm.replace
def _(op, m):
    shape, dtype = shape_of(m.x), m.x.dtype.numpy()
    channels, spread = int(shape[1]), (-1, *[1] * (len(shape) - 2))
    grouped = op.Reshape(m.x, np.array([0, m.groups, -1], np.int64))
    ones, zeros = np.ones(m.groups, dtype), np.zeros(m.groups, dtype)
    normal = op.InstanceNormalization(grouped, ones, zeros, epsilon=m.epsilon)
    back = op.Reshape(normal, np.array(_back(m), np.int64))
    scale, bias = m.scale, m.bias
    if op.opset < PER_CHANNEL_SINCE:
        scale, bias = (np.repeat(one, channels // m.groups) for one in (scale, bias))
    return op.Add(op.Mul(back, scale.reshape(spread)), bias.reshape(spread))


@instance_norm.example
def _(g):
    x = g.input([g.integer(1, 2), 3, *(g.integer(2, 4) for _ in range(g.integer(1, 2)))])
    scale, bias = (g.constant(g.normal(3) if g.flag() else np.full(3, plain, np.float32)) for plain in (1, 0))
    g.output(g.InstanceNormalization(x, scale, bias, epsilon=g.pick([1e-5, 1e-3])))


@group_norm.example
def _(g):
    g.since(PER_CHANNEL_SINCE)
    shape = [g.integer(1, 2), 4, *(g.integer(2, 4) for _ in range(g.integer(1, 2)))]
    scale, bias = g.constant(g.normal(4)), g.constant(g.normal(4))
    made = g.GroupNormalization(g.input(shape, static=True), scale, bias, num_groups=g.pick([1, 2, 4]))
    g.output(made, rank=len(shape))


class DecomposeInstanceNorm(Substitution):
    """Write InstanceNormalization out by means and roots, and GroupNormalization by InstanceNormalization."""

    name = "decompose-instance-norm"
    rules = (instance_norm, group_norm)
