"""Write out com.microsoft's Gelu, BiasGelu, FastGelu and QuickGelu.

    x, bias ─ BiasGelu ─ y         becomes      x ─ Add(bias) ─ Gelu ─ y
    x, bias ─ FastGelu ─ y         becomes      x ─ Add(bias) ─ Gelu(tanh) ─ y
    x ─ QuickGelu(α) ─ y           becomes      x·Sigmoid(α·x)

(Hendrycks and Gimpel, arXiv:1606.08415, section 2.) Before opset 20, which has Gelu, it is written out as well.
Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.scalars import is_float

DOMAIN = "com.microsoft"
_SINCE = 20
_CUBIC = 0.044715
_ALPHA = 1.702


@rule("write-out-gelu-microsoft", fidelity="rounding")
def gelu(p):
    return p.op(("Gelu", "BiasGelu"), p.x, p.optional(p.bias), domain=DOMAIN)


@rule("write-out-fast-gelu", fidelity="rounding")
def fast(p):
    return p.FastGelu(p.x, p.optional(p.bias), domain=DOMAIN)


@rule("write-out-quick-gelu", fidelity="rounding")
def quick(p):
    return p.QuickGelu(p.x, as_="quick", domain=DOMAIN)


for one in (gelu, fast, quick):
    one.require("its input is floating point")(lambda m: is_float(m.x))


def _sum(op, m):
    return m.x if m.bias is None else op.Add(m.x, m.bias)


def _number(m, value):
    return np.array(value, m.x.dtype.numpy())


@gelu.replace
def _(op, m):
    x = _sum(op, m)
    if op.opset >= _SINCE:
        return op.Gelu(x)
    part = op.Add(op.Erf(op.Mul(x, _number(m, math.sqrt(0.5)))), _number(m, 1))
    return op.Mul(op.Mul(x, part), _number(m, 0.5))


@fast.replace
def _(op, m):
    x = _sum(op, m)
    if op.opset >= _SINCE:
        return op.Gelu(x, approximate="tanh")
    inside = op.Add(x, op.Mul(op.Mul(op.Mul(x, x), x), _number(m, _CUBIC)))
    part = op.Add(op.Tanh(op.Mul(inside, _number(m, math.sqrt(2 / math.pi)))), _number(m, 1))
    return op.Mul(op.Mul(x, part), _number(m, 0.5))


@quick.replace
def _(op, m):
    alpha = attribute(m.quick, "alpha")
    return op.Mul(m.x, op.Sigmoid(op.Mul(m.x, _number(m, _ALPHA if alpha is None else alpha))))


def _case(g, op_type, bias, **options):
    shape = g.shape(least=1)
    given = [g.constant(g.normal(shape[-1]))] if bias else []
    g.output(g.op(op_type, g.input(shape, static=True), *given, domain=DOMAIN, **options), len(shape))


@gelu.example
def _(g):
    bias = g.flag()
    _case(g, "BiasGelu" if bias else "Gelu", bias)


@fast.example
def _(g):
    _case(g, "FastGelu", g.flag())


@quick.example
def _(g):
    _case(g, "QuickGelu", False, **({"alpha": 0.5} if g.flag() else {}))


class DecomposeContribGelu(Substitution):
    """Write com.microsoft's Gelu, BiasGelu, FastGelu and QuickGelu as ONNX has them, or written out."""

    name = "decompose-contrib-gelu"
    rules = (gelu, fast, quick)
