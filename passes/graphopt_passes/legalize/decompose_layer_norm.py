"""Write LayerNormalization and RMSNormalization out, for backends that lack them.

    x ─ LayerNormalization(s, b) ─ y      becomes      d = x - mean(x),   y = d / √(mean(d²) + ε) · s + b
    x ─ RMSNormalization(s) ─ y           becomes      y = x / √(mean(x²) + ε) · s

which is their definition in the ONNX standard. In half precision the standard computes the first part in single, as
the Casts that are written then do. Mean and deviation as further outputs stay. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.scalars import is_float, rank_of

_HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


@rule("write-out-layer-norm", fidelity="rounding")
def layer_norm(p):
    return p.LayerNormalization(p.x, p.scale, p.optional(p.bias))


@rule("write-out-rms-norm", fidelity="rounding")
def rms_norm(p):
    return p.RMSNormalization(p.x, p.scale)


for one in (layer_norm, rms_norm):

    @one.require("it is floating point of known rank, and only the result is read")
    def _(m):
        return is_float(m.x) and bool(rank_of(m.x)) and not any(v.name for v in m.root.outputs[1:])


def _axes(m) -> list[int]:
    rank = rank_of(m.x)
    return list(range(int(attribute(m.root, "axis")) % rank, rank))


def _wide(op, m):
    """The input in the type that the first part is computed in, ε in that type, and whether that is a wider one."""
    half = m.x.dtype in _HALF and attribute(m.root, "stash_type") == int(ir.DataType.FLOAT)
    x = op.Cast(m.x, to=int(ir.DataType.FLOAT)) if half else m.x
    return x, np.array(attribute(m.root, "epsilon"), np.float32 if half else m.x.dtype.numpy()), half


def _normalized(op, m, distance, epsilon, half):
    mean = reduce(op, "ReduceMean", op.Mul(distance, distance), _axes(m))
    quotient = op.Div(distance, op.Sqrt(op.Add(mean, epsilon)))
    return op.Mul(op.Cast(quotient, to=int(m.x.dtype)) if half else quotient, m.scale)


@layer_norm.replace
def _(op, m):
    x, epsilon, half = _wide(op, m)
    distance = op.Sub(x, reduce(op, "ReduceMean", x, _axes(m)))
    scaled = _normalized(op, m, distance, epsilon, half)
    return scaled if m.bias is None else op.Add(scaled, m.bias)


@rms_norm.replace
def _(op, m):
    x, epsilon, half = _wide(op, m)
    return _normalized(op, m, x, epsilon, half)


def _input(g):
    shape = [*g.shape(least=1, most=2), g.integer(3, 6)]
    axis = g.pick([-1, -2])
    return g.input(shape, static=True), shape[axis:], axis


@layer_norm.example
def _(g):
    g.since(17)
    x, sizes, axis = _input(g)
    bias = [g.constant(g.normal(*sizes))] if g.flag() else []
    g.output(g.LayerNormalization(x, g.constant(g.normal(*sizes)), *bias, axis=axis, epsilon=g.pick([1e-5, 1e-3])))


@rms_norm.example
def _(g):
    g.since(23)
    x, sizes, axis = _input(g)
    g.output(g.RMSNormalization(x, g.constant(g.normal(*sizes)), axis=axis))


class DecomposeLayerNorm(Substitution):
    """Write LayerNormalization and RMSNormalization out by means and roots."""

    name = "decompose-layer-norm"
    rules = (layer_norm, rms_norm)
