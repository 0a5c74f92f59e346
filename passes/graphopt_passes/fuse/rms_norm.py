"""Recognize RMSNormalization in the arithmetic that exporters write for it.

    x ─┬──────────────────────────── Div ─ y
       └─ (·)² ─ mean ─ Add(ε) ─ √ ──┘            becomes      x ─ RMSNormalization(1, ε) ─ y

over any number of last axes, with √ as Sqrt, Pow, Reciprocal or 1 / √. The scale is then taken in by
`fuse-norm-affine`. (Zhang and Sennrich, arXiv:1910.07467, section 3.) RMSNormalization is of opset 23.
Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import opset_of, shape_of
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.axes import ends_at_last, keeps_dims, reduced_axes
from graphopt_passes.fuse.layer_norm import TYPES, mean_of, squared
from graphopt_passes.scalars import inverse_root, keeps_rank, root, single, square

SINCE = 23


def _spread(p):
    mean = p.op("ReduceMean", square(p, p.x), p.rest("axes"), as_="mean")
    return p.Add(mean, p.constant("epsilon", where=single))


@rule("rms-norm-div", fidelity="rounding")
def rms_norm_div(p):
    return p.Div(p.x, root(p, _spread(p)))


@rule("rms-norm-mul", fidelity="rounding")
def rms_norm_mul(p):
    return p.Mul(p.x, inverse_root(p, _spread(p)))


def _sizes(m) -> list[int] | None:
    axes, shape = reduced_axes(m.mean), shape_of(m.x)
    if shape is None or not keeps_dims(m.mean) or not ends_at_last(axes, len(shape)):
        return None
    sizes = [shape[axis] for axis in axes]
    return [int(s) for s in sizes] if all(isinstance(s, int) for s in sizes) else None


@rms_norm_div.require("the opset has RMSNormalization, and the mean is over the last axes, whose sizes are known")
@rms_norm_mul.require("the opset has RMSNormalization, and the mean is over the last axes, whose sizes are known")
def _(m):
    known = m.x.dtype in TYPES and opset_of(m.root.graph) >= SINCE
    return known and keeps_rank(m, m.x) and bool((m.epsilon > 0).all()) and _sizes(m) is not None


@rms_norm_div.replace
@rms_norm_mul.replace
def _(op, m):
    sizes = _sizes(m)
    ones = np.ones(sizes, m.x.dtype.numpy())
    return op.RMSNormalization(m.x, ones, axis=-len(sizes), epsilon=float(m.epsilon.reshape(())))


def _parts(g):
    g.since(SINCE)
    axes = [-1] if g.flag() else [-2, -1]
    x = g.input([*g.shape(least=1, most=2), g.integer(2, 6)], static=True)
    return x, g.Sqrt(g.Add(mean_of(g, squared(g, x), axes), g.constant(g.pick([1e-5, 1e-3]))))


@rms_norm_div.example
def _(g):
    g.output(g.Div(*_parts(g)))


@rms_norm_mul.example
def _(g):
    x, deviation = _parts(g)
    g.output(g.Mul(x, g.Reciprocal(deviation) if g.flag() else g.Div(g.constant(1.0), deviation)))


class FuseRMSNorm(RewritePass):
    """Recognize RMSNormalization in means of squares and roots."""

    name = "fuse-rms-norm"
    rules = (rms_norm_div, rms_norm_mul)
