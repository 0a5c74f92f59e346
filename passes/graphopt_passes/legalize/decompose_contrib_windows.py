"""Write com.microsoft's ConvTransposeWithDynamicPads as the ConvTranspose of ONNX.

    x, pads ─ ConvTransposeWithDynamicPads(W) ─ y      becomes      x ─ ConvTranspose(W, pads) ─ y

The pads must be constants after all. NhwcConv stays: onnxruntime has no kernel for it that could say what is right.
Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import constant
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.legalize.decompose_fused_layers import DOMAIN


@rule("constant-pads", fidelity="rounding")
def transposed(p):
    return p.ConvTransposeWithDynamicPads(p.x, p.w, p.rest("more"), domain=DOMAIN)


@transposed.require("its pads are constants")
def _(m):
    return bool(m.more) and constant(m.more[0]) is not None


@transposed.replace
def _(op, m):
    pads = [int(one) for one in constant(m.more[0]).numpy()]
    return op.ConvTranspose(m.x, m.w, *m.more[1:], like=m.root, pads=pads)


@transposed.example
def _(g):
    x = g.input([1, 2, g.integer(3, 5), g.integer(3, 5)], static=True, finite=True)
    pads = g.constant(np.array([g.integer(0, 1) for _ in range(4)], np.int64))
    bias = [g.constant(g.normal(3))] if g.flag() else []
    options = {"kernel_shape": [2, 2], "strides": [2, 2], "domain": DOMAIN}
    g.output(g.ConvTransposeWithDynamicPads(x, g.constant(g.normal(2, 3, 2, 2)), pads, *bias, **options), 4)


class DecomposeContribWindows(Substitution):
    """Write ConvTransposeWithDynamicPads as ConvTranspose."""

    name = "decompose-contrib-windows"
    rules = (transposed,)
