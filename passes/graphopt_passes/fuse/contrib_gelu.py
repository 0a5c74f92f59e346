"""Make com.microsoft's Gelu, FastGelu, QuickGelu and BiasGelu, for onnxruntime.

    x ─ Div(√2) ─ Erf ─ Add(1) ─ Mul(x) ─ Mul(½) ─ y      becomes      x ─ Gelu ─ y
    the same by Tanh                                                   x ─ FastGelu ─ y
    x ─┬─ Mul(α) ─ Sigmoid ─ Mul ─ y                                   x ─ QuickGelu(α) ─ y
       └────────────────────┘
    x ─ Add(bias) ─ Gelu or FastGelu ─ y                               x, bias ─ BiasGelu or FastGelu ─ y

Gelu of ONNX itself (opset 20) is taken as well where a bias goes in. The bias of a product of matrices stays with it:
onnxruntime makes a Gemm of the two, and BiasGelu behind a bare product was slower by a tenth. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant
from graphopt.ir.infer import dims_of
from graphopt.rewrite import Rule, rule
from graphopt_passes.fuse.gelu import erf_part, tanh_part
from graphopt_passes.scalars import keeps_rank, rank_of, times

DOMAIN = "com.microsoft"
_SINCE = 20
_TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16)


def _orders(part):
    """The three ways to multiply x, ½ and a part of x."""
    return {
        "half-last": lambda p: p.Mul(p.Mul(p.x, part(p, p.x)), p.constant(where=_half)),
        "half-with-x": lambda p: p.Mul(times(p, p.x, 0.5), part(p, p.x)),
        "half-with-part": lambda p: p.Mul(p.x, times(p, part(p, p.x), 0.5)),
    }


def _half(array: np.ndarray) -> bool:
    return array.size == 1 and float(array.reshape(())) == 0.5


def _fits(m):
    return m.x.dtype in _TYPES and bool(rank_of(m.x)) and keeps_rank(m, m.x)


def _rules(stem, part, op_type):
    for name, pattern in _orders(part).items():
        one = Rule(f"{stem}-{name}", "rounding", pattern)
        one.require("x is float32 or float16, and no constant makes it larger")(_fits)
        one.replace(lambda op, m: op.op(op_type, m.x, domain=DOMAIN))
        yield one


BY_ERF = tuple(_rules("gelu", erf_part, "Gelu"))
BY_TANH = tuple(_rules("fast-gelu", tanh_part, "FastGelu"))


@rule("quick-gelu", fidelity="rounding")
def quick(p):
    scaled = p.Mul(p.x, p.constant("alpha", where=lambda array: array.size == 1))
    return p.Mul(p.x, p.Sigmoid(p.either(scaled, p.x)))


@quick.require("x is float32 or float16, and no constant makes it larger")
def _(m):
    return _fits(m)


@quick.replace
def _(op, m):
    return op.QuickGelu(m.x, alpha=float(m.alpha.reshape(())) if "alpha" in m else 1.0, domain=DOMAIN)


def _biased(name, pattern, op_type):
    """A rule that takes the bias before a Gelu into it."""
    one = Rule(name, "rounding", pattern)
    one.require("the bias is one vector along the last axis of a float32 or float16 tensor")(_is_bias)
    one.require("the bias is not that of a product, which onnxruntime adds for nothing")(lambda m: not is_product(m.x))
    one.replace(lambda op, m: op.op(op_type, m.x, m.value("bias"), domain=DOMAIN))
    return one


def _is_bias(m):
    dims, bias = dims_of(m.x), constant(m.value("bias"))
    fits = dims is not None and len(bias.shape) == 1 and len(dims) > 1 and dims[-1].number == bias.shape[0]
    return fits and m.x.dtype in _TYPES


def is_product(value):
    """Whether a value is a product of matrices: onnxruntime makes a Gemm of it and of the bias after it."""
    node = value.producer()
    return node is not None and node.op_type in ("MatMul", "Gemm") and not node.domain


def _sum(p):
    return p.Add(p.x, p.constant("bias"))


BIASED = (
    _biased("bias-gelu", lambda p: p.Gelu(_sum(p), domain=DOMAIN), "BiasGelu"),
    _biased("bias-gelu-standard", lambda p: p.Gelu(_sum(p), approximate="none"), "BiasGelu"),
    _biased("bias-fast-gelu", lambda p: p.FastGelu(_sum(p), domain=DOMAIN), "FastGelu"),
    _biased("bias-fast-gelu-standard", lambda p: p.Gelu(_sum(p), approximate="tanh"), "FastGelu"),
)


def _erf(g, x):
    return g.Add(g.Erf(g.Div(x, g.constant(np.sqrt(2.0)))), g.constant(1.0))


def _tanh(g, x):
    inside = g.Add(x, g.Mul(g.Pow(x, g.constant(3.0)), g.constant(0.044715)))
    return g.Add(g.Tanh(g.Mul(inside, g.constant(np.sqrt(2 / np.pi)))), g.constant(1.0))


def _order(rule_, part, order):
    @rule_.example
    def _(g):
        x, half = g.input(g.shape(least=1)), g.constant(0.5)
        last, with_x = g.Mul(g.Mul(x, part(g, x)), half), g.Mul(g.Mul(x, half), part(g, x))
        g.output((last, with_x, g.Mul(x, g.Mul(part(g, x), half)))[order])


for family, part_ in ((BY_ERF, _erf), (BY_TANH, _tanh)):
    for order_, one in enumerate(family):
        _order(one, part_, order_)


@quick.example
def _(g):
    x = g.input(g.shape(least=1))
    g.output(g.Mul(g.Sigmoid(g.Mul(x, g.constant(1.702)) if g.flag() else x), x))


def _with_bias(rule_, op_type, **options):
    @rule_.example
    def _(g):
        if not options.get("domain"):
            g.since(_SINCE)
        shape = g.shape(least=2)
        x = g.input(shape, static=True)
        g.output(g.op(op_type, g.Add(g.constant(g.normal(shape[-1])), x), **options), len(shape))


_with_bias(BIASED[0], "Gelu", domain=DOMAIN)
_with_bias(BIASED[1], "Gelu")
_with_bias(BIASED[2], "FastGelu", domain=DOMAIN)
_with_bias(BIASED[3], "Gelu", approximate="tanh")

RULES = (*BY_ERF, *BY_TANH, quick, *BIASED)
