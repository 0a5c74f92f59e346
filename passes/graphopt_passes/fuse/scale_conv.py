"""Fold a multiplication by a constant for each channel into the layer behind it.

    x ─ Mul(c) ─ Conv(w, b) ─ y      becomes      x ─ Conv(w·c, b) ─ y          and Div(c) as Mul(1/c)

for Conv, ConvTranspose, Gemm and MatMul; padding does not matter, since zero times c is zero. Holds where nothing else
reads the product. The factor ½ at the end of a Gelu stays: without it onnxruntime 1.31 no longer recognizes the Gelu,
and a ConvNeXt takes 1.27 times as long. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.fuse.channels import WEIGHTED, as_type, at_input, foldable, layer, scale_input


@rule("mul-conv", fidelity="rounding")
def mul_conv(p):
    return layer(p, WEIGHTED, p.Mul(p.x, p.constant("c")))


@rule("div-conv", fidelity="rounding")
def div_conv(p):
    return layer(p, WEIGHTED, p.Div(p.x, p.constant("c")))


@mul_conv.require("the constant has one element, or one for each input channel")
@div_conv.require("the constant has one element, or one for each input channel")
def _(m):
    return foldable(m) and at_input(m, m.c) is not None


@div_conv.require("no divisor is zero")
def _(m):
    return bool((m.c != 0).all())


@mul_conv.require("it is not the end of a Gelu, which runtimes recognize")
@div_conv.require("it is not the end of a Gelu, which runtimes recognize")
def _(m):
    return m.c.size != 1 or not ends_gelu(m.x)


def ends_gelu(value: ir.Value) -> bool:
    """Whether a value is x · (1 + erf(…)) or x · (1 + tanh(…)), a Gelu but for its factor."""
    product = value.producer()
    if product is None or product.op_type != "Mul":
        return False
    sums = [v.producer() for v in product.inputs if v is not None]
    return any(one is not None and one.op_type == "Add" and any(_is_curve(v) for v in one.inputs) for one in sums)


def _is_curve(value: ir.Value | None) -> bool:
    node = value.producer() if value is not None else None
    return node is not None and node.op_type in ("Erf", "Tanh")


def _folded(op, m, factor):
    w = as_type(scale_input(m.layer, m.w, factor), m.w)
    more = [m.value("b")] if m.b is not None else []
    return op.op(m.layer.op_type, m.x, w, *more, like=m.layer)


@mul_conv.replace
def _(op, m):
    return _folded(op, m, at_input(m, m.c))


@div_conv.replace
def _(op, m):
    return _folded(op, m, 1.0 / at_input(m, m.c))


def _factor(g, op_type):
    return lambda x, channels: g.op(op_type, x, g.constant(np.abs(g.along_channels(x, channels)) + np.float32(0.5)))


@mul_conv.example
def _(g):
    g.output(g.layer(("Conv", "ConvTranspose", "Gemm"), _factor(g, "Mul"), static=True)[0])


@mul_conv.example
def _(g):
    scaled = g.layer(("MatMul",), lambda x, k: g.Mul(g.constant(g.normal(*g.pick([(), (1,), (k,)]))), x), static=True)
    g.output(scaled[0])


@div_conv.example
def _(g):
    g.output(g.layer(("Conv", "ConvTranspose", "Gemm"), _factor(g, "Div"), static=True)[0])


class FuseScaleConv(RewritePass):
    """Fold Mul or Div by a constant into the Conv, ConvTranspose, Gemm or MatMul behind it."""

    name = "fuse-scale-conv"
    rules = (mul_conv, div_conv)
