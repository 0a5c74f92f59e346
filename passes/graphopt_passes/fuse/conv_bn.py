"""Fold BatchNormalization into the layer before it.

    x ─ Conv(w, b) ─ BatchNormalization(s, t, μ, σ²) ─ y      becomes      x ─ Conv(w·k, (b - μ)·k + t) ─ y
                                                                             k = s / √(σ² + ε)

for Conv, ConvTranspose and Gemm. Holds where nothing else reads the layer's output and all statistics are constants
(Ioffe and Szegedy, arXiv:1502.03167, section 3.1). Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.schema import attribute
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.fuse.channels import as_type, bias_of, layer, output_channels, scale_weight


@rule("conv-bn", fidelity="rounding")
def conv_bn(p):
    return p.BatchNormalization(
        layer(p), p.constant("scale"), p.constant("shift"), p.constant("mean"), p.constant("var"),
        epsilon=p.attribute("epsilon"),
    )  # fmt: skip


@conv_bn.require("it is not in training mode, and its statistics fit the layer")
def _(m):
    fits = all(a.shape == (output_channels(m.layer, m.w),) for a in (m.scale, m.shift, m.mean, m.var))
    return fits and not attribute(m.root, "training_mode") and attribute(m.root, "is_test") in (None, 1)


@conv_bn.replace
def _(op, m):
    k = m.scale.astype(np.float64) / np.sqrt(m.var.astype(np.float64) + m.epsilon)
    bias = (bias_of(m.layer, m.b) - m.mean) * k + m.shift
    if m.layer.op_type != "Gemm":
        bias = np.broadcast_to(bias, k.shape)
    w, b = as_type(scale_weight(m.layer, m.w, k), m.w), as_type(bias, m.w)
    more = {"beta": 1.0} if m.layer.op_type == "Gemm" else {}
    return op.op(m.layer.op_type, m.x, w, b, like=m.layer, **more)


@conv_bn.example
def _(g):
    made, channels = g.layer()
    stats = [g.constant(g.normal(channels)) for _ in range(3)]
    g.output(g.BatchNormalization(made, *stats, g.constant(g.positive(channels)), epsilon=g.pick([1e-5, 1e-3])))


class FuseConvBN(RewritePass):
    """Fold BatchNormalization into the Conv, ConvTranspose or Gemm before it."""

    name = "fuse-conv-bn"
    rules = (conv_bn,)
