"""Fold a multiplication by a constant for each channel into the layer before it.

    x ─ Conv(w, b) ─ Mul(c) ─ y      becomes      x ─ Conv(w·c, b·c) ─ y          and Div(c) as Mul(1/c)

for Conv, ConvTranspose and Gemm. Holds where nothing else reads the layer's output. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.fuse.channels import as_type, bias_of, layer, output_channels, per_channel, scale_weight


def _factor(m):
    rank = m.w.ndim
    channels = output_channels(m.layer, m.w)
    return per_channel(m.c, rank, channels)


def _scaled(op, m, factor):
    w = as_type(scale_weight(m.layer, m.w, factor), m.w)
    if m.b is None:
        return op.op(m.layer.op_type, m.x, w, like=m.layer)
    more = {"beta": 1.0} if m.layer.op_type == "Gemm" else {}
    return op.op(m.layer.op_type, m.x, w, as_type(bias_of(m.layer, m.b) * factor, m.w), like=m.layer, **more)


@rule("conv-mul", fidelity="rounding")
def conv_mul(p):
    return p.Mul(layer(p), p.constant("c"))


@conv_mul.require("the constant has one element, or one for each channel")
def _(m):
    return _factor(m) is not None


@conv_mul.replace
def _(op, m):
    return _scaled(op, m, _factor(m))


@conv_mul.example
def _(g):
    made, channels = g.layer()
    g.output(g.Mul(made, g.constant(g.along_channels(made, channels))))


@rule("conv-div", fidelity="rounding")
def conv_div(p):
    return p.Div(layer(p), p.constant("c"))


@conv_div.require("the constant has one element, or one for each channel, and none is zero")
def _(m):
    return _factor(m) is not None and bool((m.c != 0).all())


@conv_div.replace
def _(op, m):
    return _scaled(op, m, 1.0 / _factor(m))


@conv_div.example
def _(g):
    made, channels = g.layer()
    g.output(g.Div(made, g.constant(np.abs(g.along_channels(made, channels)) + np.float32(0.5))))


class FuseConvScale(RewritePass):
    """Fold Mul or Div by a constant into the Conv, ConvTranspose or Gemm before it."""

    name = "fuse-conv-scale"
    rules = (conv_mul, conv_div)
