"""Write MeanVarianceNormalization and LRN out, for backends that lack them.

    x ─ MeanVarianceNormalization(axes) ─ y      becomes      d = x - mean(x),  y = d / (√ mean(d²) + 1e-9)
    x ─ LRN(size, α, β, k) ─ y                   becomes      z = (x·√(α/size))²,  y = x / (Conv(z, band) + k)^β

The band adds up `size` neighbors along the channels, ⌊(size - 1) / 2⌋ of them before (ONNX, LRN); scaling comes before
squaring, which half precision would overflow on. mean(d²) is the standard's E[X²] - E[X]² without the cancellation.
Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.canonicalize.merge_slices import size_of
from graphopt_passes.scalars import is_float, number, rank_of

_EPSILON = 1e-9


@rule("write-out-mean-variance-norm", fidelity="rounding")
def mean_variance(p):
    return p.MeanVarianceNormalization(p.x)


mean_variance.require("it is floating point of known rank")(lambda m: is_float(m.x) and bool(rank_of(m.x)))


@mean_variance.replace
def _(op, m):
    axes = sorted(axis % rank_of(m.x) for axis in attribute(m.root, "axes"))
    distance = op.Sub(m.x, reduce(op, "ReduceMean", m.x, axes))
    deviation = op.Sqrt(reduce(op, "ReduceMean", op.Mul(distance, distance), axes))
    return op.Div(distance, op.Add(deviation, number(m.x, _EPSILON)))


@rule("write-out-lrn", fidelity="rounding")
def lrn(p):
    return p.LRN(p.x)


@lrn.require("it is floating point with axes behind the channels, whose number is known")
def _(m):
    return is_float(m.x) and (rank_of(m.x) or 0) > 2 and size_of(m.x, 1) is not None


@lrn.replace
def _(op, m):
    size, channels, dtype = attribute(m.root, "size"), size_of(m.x, 1), m.x.dtype.numpy()
    first = -((size - 1) // 2)
    places = np.arange(channels)
    offsets = places[None, :] - places[:, None]
    band = ((offsets >= first) & (offsets < first + size)).astype(dtype)
    scaled = op.Mul(m.x, number(m.x, math.sqrt(attribute(m.root, "alpha") / size)))
    kernel = band.reshape(channels, channels, *[1] * (rank_of(m.x) - 2))
    total = op.Conv(op.Mul(scaled, scaled), kernel, np.full(channels, attribute(m.root, "bias"), dtype))
    return op.Div(m.x, op.Pow(total, number(m.x, attribute(m.root, "beta"))))


@mean_variance.example
def _(g):
    # on one element there is only noise to tell apart
    x = g.input([2, 3, g.integer(3, 5), 4], finite=True)
    g.output(g.MeanVarianceNormalization(x, axes=g.pick([[2, 3], [0, 2, 3], [-1, -2, 1]])))


@lrn.example
def _(g):
    # onnxruntime takes odd sizes only
    x = g.input([g.integer(1, 2), g.integer(2, 5), 3, 3], static=True, finite=True)
    g.output(
        g.LRN(x, size=g.pick([1, 3, 5]), alpha=g.pick([1e-4, 0.5]), beta=g.pick([0.75, 0.5]), bias=g.pick([1.0, 2.0]))
    )


class DecomposeVarianceNorm(Substitution):
    """Write MeanVarianceNormalization and LRN out."""

    name = "decompose-variance-norm"
    rules = (mean_variance, lrn)
