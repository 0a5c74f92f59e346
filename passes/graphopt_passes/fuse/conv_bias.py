"""Fold the addition of a constant for each channel into the layer before it.

    x ─ Conv(w, b) ─ Add(c) ─ y      becomes      x ─ Conv(w, b + c) ─ y          and Sub(c) as Add(-c)

for Conv, ConvTranspose and Gemm. Holds where nothing else reads the layer's output. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.fuse.channels import as_type, bias_of, layer, output_channels, per_channel


def _shift(m):
    return per_channel(m.c, m.w.ndim, output_channels(m.layer, m.w))


def _shifted(op, m, shift):
    bias = bias_of(m.layer, m.b) + shift
    more = {"beta": 1.0} if m.layer.op_type == "Gemm" else {}
    return op.op(m.layer.op_type, m.x, m.value("w"), as_type(bias, m.w), like=m.layer, **more)


@rule("conv-add", fidelity="rounding")
def conv_add(p):
    return p.Add(layer(p), p.constant("c"))


@conv_add.require("the constant has one element, or one for each channel")
def _(m):
    return _shift(m) is not None


@conv_add.replace
def _(op, m):
    return _shifted(op, m, _shift(m))


@conv_add.example
def _(g):
    made, channels = g.layer()
    g.output(g.Add(made, g.constant(g.along_channels(made, channels))))


@rule("conv-sub", fidelity="rounding")
def conv_sub(p):
    return p.Sub(layer(p), p.constant("c"))


@conv_sub.require("the constant has one element, or one for each channel")
def _(m):
    return _shift(m) is not None


@conv_sub.replace
def _(op, m):
    return _shifted(op, m, -np.asarray(_shift(m)))


@conv_sub.example
def _(g):
    made, channels = g.layer()
    g.output(g.Sub(made, g.constant(g.along_channels(made, channels))))


class FuseConvBias(RewritePass):
    """Fold Add or Sub of a constant into the Conv, ConvTranspose or Gemm before it."""

    name = "fuse-conv-bias"
    rules = (conv_add, conv_sub)
