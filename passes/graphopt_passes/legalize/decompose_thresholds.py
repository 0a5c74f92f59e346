"""Write Shrink, ThresholdedRelu and SwiGLU out, for backends that lack them.

    Shrink(x; λ, b)          becomes      Where(x < -λ, x + b, Where(x > λ, x - b, 0))
    ThresholdedRelu(x; α)    becomes      Where(x > α, x, 0)
    SwiGLU(a, b; α)          becomes      a · Sigmoid(α·a) · b

as the ONNX standard defines them. Fidelity: exact for the first two, rounding for SwiGLU.
"""

from __future__ import annotations

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.scalars import FLOATS, is_float, number

_SWIGLU_SINCE = 28


@rule("write-out-shrink", fidelity="exact")
def shrink(p):
    return p.Shrink(p.x, lambd=p.attribute("limit"), bias=p.attribute("bias"))


@shrink.require("the bias and the threshold are numbers of its type")
def _(m):
    return m.x.dtype is not None and (m.x.dtype in FLOATS or (m.limit == int(m.limit) and m.bias == int(m.bias)))


@shrink.replace
def _(op, m):
    zero, bias = number(m.x, 0), number(m.x, m.bias)
    high = op.Greater(m.x, number(m.x, m.limit))
    low = op.Less(m.x, number(m.x, -m.limit))
    shrunk = op.Where(high, op.Sub(m.x, bias) if m.bias else m.x, zero)
    return op.Where(low, op.Add(m.x, bias) if m.bias else m.x, shrunk)


@shrink.example
def _(g):
    x = g.input(g.shape(), g.pick([g.FLOAT, g.INT32]))
    g.output(g.Shrink(x, lambd=g.pick([1.0, 2.0]), bias=g.pick([0.0, 1.0])))


@rule("write-out-thresholded-relu", fidelity="exact")
def thresholded(p):
    return p.ThresholdedRelu(p.x, alpha=p.attribute("alpha"))


@thresholded.require("it is floating point")
def _(m):
    return is_float(m.x)


@thresholded.replace
def _(op, m):
    return op.Where(op.Greater(m.x, number(m.x, m.alpha)), m.x, number(m.x, 0))


@thresholded.example
def _(g):
    g.output(g.ThresholdedRelu(g.input(g.shape()), alpha=g.pick([1.0, 0.0, 2.5])))


@rule("write-out-swiglu", fidelity="rounding")
def swiglu(p):
    return p.SwiGLU(p.a, p.b, alpha=p.attribute("alpha"))


@swiglu.require("it is floating point")
def _(m):
    return is_float(m.a)


@swiglu.replace
def _(op, m):
    line = m.a if m.alpha == 1.0 else op.Mul(m.a, number(m.a, m.alpha))
    return op.Mul(op.Mul(m.a, op.Sigmoid(line)), m.b)


@swiglu.example
def _(g):
    g.since(_SWIGLU_SINCE)
    shape = g.shape()
    x, gate = g.input(shape, finite=True), g.input(shape, finite=True)
    g.output(g.SwiGLU(x, gate, alpha=g.pick([1.0, 1.702])))


class DecomposeThresholds(Substitution):
    """Write Shrink, ThresholdedRelu and SwiGLU out."""

    name = "decompose-thresholds"
    rules = (shrink, thresholded, swiglu)
