"""Fold BatchNormalization into the layer next to it.

    x ─ Conv(w, b) ─ BatchNormalization(s, t, μ, σ²) ─ y      becomes      x ─ Conv(w·k, (b - μ)·k + t) ─ y
    x ─ BatchNormalization(s, t, μ, σ²) ─ Conv(w, b) ─ y      becomes      x ─ Conv(w·k, b + Σ w·(t - μ·k)) ─ y
                                                                             k = s / √(σ² + ε)

for Conv, ConvTranspose, Gemm and MatMul with or without a bias behind it; in front of a layer, for Conv that pads
nothing and Gemm. Holds where nothing else reads what is between and all statistics are constants (Ioffe and Szegedy,
arXiv:1502.03167, section 3.1). Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.schema import attribute
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.fuse.channels import (
    as_type,
    at_output,
    bias_of,
    foldable,
    input_channels,
    layer,
    output_channels,
    scale_input,
    scale_weight,
    shift_through,
)
from graphopt_passes.fuse.conv_bias import pads_nothing
from graphopt_passes.scalars import rank_of


def _norm(p, x):
    return p.op(
        "BatchNormalization", x, p.constant("scale"), p.constant("shift"), p.constant("mean"), p.constant("var"),
        epsilon=p.attribute("epsilon"), as_="norm",
    )  # fmt: skip


def _infers(m, channels: int) -> bool:
    """Whether the normalization is not in training mode and its statistics are for so many channels."""
    fits = all(a.shape == (channels,) for a in (m.scale, m.shift, m.mean, m.var))
    unread = not any(v.name for v in m.norm.outputs[1:])
    return fits and unread and not attribute(m.norm, "training_mode") and attribute(m.norm, "is_test") in (None, 1)


def _factor(m) -> np.ndarray:
    return m.scale.astype(np.float64) / np.sqrt(m.var.astype(np.float64) + m.epsilon)


@rule("conv-bn", fidelity="rounding")
def conv_bn(p):
    return _norm(p, layer(p))


@conv_bn.require("it is not in training mode, and its statistics fit the layer")
def _(m):
    return foldable(m) and _infers(m, output_channels(m.layer, m.w))


@conv_bn.replace
def _(op, m):
    k = _factor(m)
    bias = (bias_of(m.layer, m.b) - m.mean) * k + m.shift
    if m.layer.op_type != "Gemm":
        bias = np.broadcast_to(bias, k.shape)
    w, b = as_type(scale_weight(m.layer, m.w, k), m.w), as_type(bias, m.w)
    more = {"beta": 1.0} if m.layer.op_type == "Gemm" else {}
    return op.op(m.layer.op_type, m.x, w, b, like=m.layer, **more)


@rule("matmul-bn", fidelity="rounding")
def matmul_bn(p):
    product = p.op("MatMul", p.x, p.constant("w"), as_="layer")
    return _norm(p, p.either(product, p.Add(product, p.constant("b"))))


@matmul_bn.require("it is not in training mode, and its channels are the columns of the weight")
def _(m):
    bias = "b" not in m or at_output(m, m.b) is not None
    return foldable(m) and rank_of(m.x) == 2 and bias and _infers(m, output_channels(m.layer, m.w))


@matmul_bn.replace
def _(op, m):
    k = _factor(m)
    bias = ((at_output(m, m.b) if "b" in m else 0.0) - m.mean) * k + m.shift
    product = op.op("MatMul", m.x, as_type(scale_weight(m.layer, m.w, k), m.w), like=m.layer)
    return op.Add(product, as_type(bias, m.w))


@rule("bn-conv", fidelity="rounding")
def bn_conv(p):
    return layer(p, ("Conv", "Gemm"), _norm(p, p.x))


@bn_conv.require("it is not in training mode, its statistics fit the layer, and that pads nothing")
def _(m):
    return foldable(m) and pads_nothing(m.layer) and _infers(m, input_channels(m.layer, m.w))


@bn_conv.replace
def _(op, m):
    k = _factor(m)
    bias = bias_of(m.layer, m.b) + shift_through(m.layer, m.w, m.shift - m.mean * k)
    more = {"beta": 1.0} if m.layer.op_type == "Gemm" else {}
    w = as_type(scale_input(m.layer, m.w, k), m.w)
    return op.op(m.layer.op_type, m.x, w, as_type(bias, m.w), like=m.layer, **more)


def _normalize(g):
    def made(x, channels):
        stats = [g.constant(g.normal(channels)) for _ in range(3)]
        variance = g.constant(g.positive(channels))
        return g.BatchNormalization(x, *stats, variance, epsilon=g.pick([1e-5, 1e-3]))

    return made


@conv_bn.example
def _(g):
    g.output(_normalize(g)(*g.layer()))


@matmul_bn.example
def _(g):
    x = g.input([g.integer(1, 4), 3])
    product = g.MatMul(x, g.constant(g.normal(3, 5)))
    made = product if g.flag() else g.Add(product, g.constant(g.normal(5)))
    g.output(_normalize(g)(made, 5))


@bn_conv.example
def _(g):
    g.output(g.layer(("Conv", "Gemm"), _normalize(g))[0])


class FuseConvBN(RewritePass):
    """Fold BatchNormalization into the Conv, ConvTranspose, Gemm or MatMul next to it."""

    name = "fuse-conv-bn"
    rules = (conv_bn, matmul_bn, bn_conv)
