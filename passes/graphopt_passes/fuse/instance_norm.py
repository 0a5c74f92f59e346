"""Recognize InstanceNormalization in the arithmetic that exporters write for it.

    x[N, C, …] ─┬─ Sub ─┬──────────────────────────── Div ─ y
                └─ μ ───┘└─ (·)² ─ mean ─ Add(ε) ─ √ ──┘        becomes      x ─ InstanceNormalization(1, 0, ε) ─ y

with means over all axes behind the channels. Scale and bias are then taken in by `fuse-norm-affine`.
(Ulyanov et al., arXiv:1607.08022, equation 2.) Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import shape_of
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.fuse.layer_norm import by_inverse, mean_of, over, squared, statistics


@rule("instance-norm-div", fidelity="rounding")
def instance_norm_div(p):
    return over(p)


@rule("instance-norm-mul", fidelity="rounding")
def instance_norm_mul(p):
    return by_inverse(p)


@instance_norm_div.require("mean and variance are over all axes behind the channels, whose number is known")
@instance_norm_mul.require("mean and variance are over all axes behind the channels, whose number is known")
def _(m):
    axes, shape = statistics(m), shape_of(m.x)
    if isinstance(axes, str):
        return axes
    if m.x.dtype != ir.DataType.FLOAT or shape is None or len(shape) < 3:
        return "it is not a float32 tensor with axes behind its channels"
    return axes == tuple(range(2, len(shape))) and isinstance(shape[1], int)


@instance_norm_div.replace
@instance_norm_mul.replace
def _(op, m):
    channels = shape_of(m.x)[1]
    scale, bias = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    return op.InstanceNormalization(m.x, scale, bias, epsilon=float(m.epsilon.reshape(())))


def _parts(g):
    spatial = [g.integer(2, 4) for _ in range(g.integer(1, 2))]
    x = g.input([g.integer(1, 2), g.integer(1, 3), *spatial], static=True)
    axes = list(range(2, 2 + len(spatial)))
    distance = g.Sub(x, mean_of(g, x, axes))
    return distance, g.Sqrt(g.Add(mean_of(g, squared(g, distance), axes), g.constant(g.pick([1e-5, 1e-3]))))


@instance_norm_div.example
def _(g):
    g.output(g.Div(*_parts(g)))


@instance_norm_mul.example
def _(g):
    distance, deviation = _parts(g)
    g.output(g.Mul(distance, g.Reciprocal(deviation)))


class FuseInstanceNorm(RewritePass):
    """Recognize InstanceNormalization in means, differences and roots."""

    name = "fuse-instance-norm"
    rules = (instance_norm_div, instance_norm_mul)
