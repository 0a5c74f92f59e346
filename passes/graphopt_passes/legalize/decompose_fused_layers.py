"""Write out com.microsoft's layers with something fused into them: FusedMatMul, FusedGemm and FusedConv.

    a, b ─ FusedMatMul(transB=1, alpha=α) ─ y      becomes      a, bᵀ ─ MatMul ─ Mul(α) ─ y
    x ─ FusedConv(W, b, z, activation) ─ y         becomes      x ─ Conv(W, b) ─ Add(z) ─ activation ─ y

TransposeMatMul is an older name of FusedMatMul. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.parts import transpose
from graphopt_passes.scalars import is_float

DOMAIN = "com.microsoft"
_CLIP_HAS_INPUTS = 11
_PARAMETERS = {
    "LeakyRelu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "Elu": ("alpha",),
    "ThresholdedRelu": ("alpha",),
}
_PLAIN = ("Relu", "Sigmoid", "Tanh", "Softplus", "Softsign")
_FUSED_ONLY = ("activation", "activation_params", "activation_alpha", "activation_beta", "activation_gamma")


@rule("write-out-fused-matmul", fidelity="rounding")
def matmul(p):
    return p.op(("FusedMatMul", "TransposeMatMul"), p.a, p.b, as_="fused", domain=DOMAIN)


@matmul.require("it is floating point, and a transposed input is a matrix or a stack of them")
def _(m):
    turned = [value for value, *names in _sides(m) if any(attribute(m.fused, name) for name in names)]
    return is_float(m.a) and all(len(dims_of(value) or ()) > 1 for value in turned)


def _sides(m):
    return (m.a, "transA", "transBatchA"), (m.b, "transB", "transBatchB")


@matmul.replace
def _(op, m):
    alpha = attribute(m.fused, "alpha")
    product = op.MatMul(
        *(_turned(op, value, *(attribute(m.fused, one) for one in names)) for value, *names in _sides(m))
    )
    return product if alpha in (None, 1.0) else op.Mul(product, np.array(alpha, m.a.dtype.numpy()))


def _turned(op, value, matrices, batches):
    """A side with its last axes exchanged, after its first axis has gone behind the batch axes where it says so."""
    order = list(range(len(dims_of(value) or ())))
    if batches:
        order = [*order[1:-1], order[0], order[-1]]
    if matrices:
        order[-2:] = order[:-3:-1]
    return transpose(op, value, order)


@rule("write-out-fused-gemm", fidelity="rounding")
def gemm(p):
    return p.FusedGemm(p.x, p.w, p.optional(p.b), as_="fused", domain=DOMAIN)


@rule("write-out-fused-conv", fidelity="rounding")
def conv(p):
    return p.FusedConv(p.x, p.w, p.optional(p.b), p.optional(p.z), as_="fused", domain=DOMAIN)


@gemm.require("its activation is one of ONNX")
def _(m):
    return _known(m)


@conv.require("its activation is one of ONNX")
def _(m):
    return _known(m)


def _known(m):
    kind = attribute(m.fused, "activation")
    return is_float(m.x) and (not kind or kind in (*_PLAIN, *_PARAMETERS, "Clip"))


@gemm.replace
def _(op, m):
    made = op.op("Gemm", m.x, m.w, m.b, like=m.fused, **dict.fromkeys(_FUSED_ONLY))
    given = [attribute(m.fused, f"activation_{name}") for name in ("alpha", "beta", "gamma")]
    return _activated(op, m, made, [one for one in given if one is not None])


@conv.replace
def _(op, m):
    made = op.op("Conv", m.x, m.w, m.b, like=m.fused, **dict.fromkeys(_FUSED_ONLY))
    total = made if m.z is None else op.Add(made, m.z)
    return _activated(op, m, total, list(attribute(m.fused, "activation_params") or ()))


def _activated(op, m, value, given):
    kind = attribute(m.fused, "activation")
    if not kind:
        return value
    if kind == "Clip":
        low, high = (float(one) for one in given)
        if op.opset < _CLIP_HAS_INPUTS:
            return op.Clip(value, min=low, max=high)
        return op.Clip(value, *(np.array(one, m.x.dtype.numpy()) for one in (low, high)))
    named = dict(zip(_PARAMETERS.get(kind, ()), map(float, given), strict=False))
    return op.op(kind, value, **named)


@matmul.example
def _(g):
    a, b = g.flag(), g.flag()
    m, k, n = (g.integer(1, 3) for _ in range(3))
    lead = g.shape(most=2)
    x = g.input([*lead, *((k, m) if a else (m, k))], static=True)
    y = g.input([*lead, *((n, k) if b else (k, n))], static=True)
    alpha = {"alpha": 0.5} if g.flag() else {}
    g.output(g.FusedMatMul(x, y, transA=int(a), transB=int(b), domain=DOMAIN, **alpha), len(lead) + 2)


@matmul.example
def _(g):
    m, k, n = (g.integer(1, 3) for _ in range(3))
    batch, turned = g.shape(1, 2), int(g.flag())
    x = g.input([k if turned else m, *batch, m if turned else k], static=True)
    y = g.input([*batch, k, n], static=True)
    g.output(g.FusedMatMul(x, y, transA=turned, transBatchA=1, domain=DOMAIN), len(batch) + 2)


@gemm.example
def _(g):
    m, k, n = (g.integer(1, 3) for _ in range(3))
    kind, alpha = g.pick([("Relu", {}), ("LeakyRelu", {"activation_alpha": 0.1}), ("Tanh", {})])
    bias = [g.constant(g.normal(n))] if g.flag() else []
    weight = g.constant(g.normal(n, k))
    options = {"transB": 1, "alpha": 0.5, "beta": 2.0, "activation": kind, "domain": DOMAIN}
    g.output(g.FusedGemm(g.input([m, k], static=True), weight, *bias, **options, **alpha), 2)


@conv.example
def _(g):
    inputs, outputs = g.integer(1, 3), g.integer(1, 3)
    x = g.input([1, inputs, 5, 5], static=True)
    given = [g.constant(g.normal(outputs, inputs, 3, 3)), g.constant(g.normal(outputs))]
    if g.flag():
        given.append(g.input([1, outputs, 5, 5], static=True))
    kinds = [("Relu", []), ("Sigmoid", []), ("LeakyRelu", [0.1]), ("Clip", [-0.5, 0.5]), ("HardSigmoid", [0.3, 0.4])]
    kind, numbers = g.pick(kinds if len(given) == 2 else kinds[:1])
    more = {"activation_params": numbers} if numbers else {}
    g.output(g.FusedConv(x, *given, activation=kind, pads=[1] * 4, kernel_shape=[3, 3], domain=DOMAIN, **more), 4)


class DecomposeFusedLayers(Substitution):
    """Write com.microsoft's FusedMatMul, FusedGemm and FusedConv as layer, sum, factor and activation."""

    name = "decompose-fused-layers"
    rules = (matmul, gemm, conv)
