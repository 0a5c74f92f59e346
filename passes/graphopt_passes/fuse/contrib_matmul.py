"""Make com.microsoft's FusedMatMul of a MatMul, the Transpose before it and the number after it, for onnxruntime.

    a ─────────────── MatMul ─ Mul(α) ─ y      becomes      a, b ─ FusedMatMul(transB=1, alpha=α) ─ y
    b ─ Transpose ──────┘

for a Transpose that swaps the last two axes, of either input. Fidelity: rounding.
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.infer import dims_of
from graphopt.rewrite import Rule, rule
from graphopt_passes.scalars import keeps_rank

DOMAIN = "com.microsoft"
_TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16)


def _swaps_last(perm):
    return perm is not None and list(perm) == [*range(len(perm) - 2), len(perm) - 1, len(perm) - 2]


def _one(array):
    return array.size == 1


def _transposed(side):
    """The rule that takes the Transpose of one input in."""

    def pattern(p):
        turned = p.Transpose(p.inner, perm=p.attribute(where=_swaps_last), shared=True)
        return p.MatMul(*((turned, p.b) if side == "A" else (p.a, turned)))

    one = Rule(f"fused-matmul-{side.lower()}", "rounding", pattern)
    one.require("both inputs are matrices or stacks of them, float32 or float16")(
        lambda m: m.inner.dtype in _TYPES and all(len(dims_of(v) or ()) > 1 for v in m.root.inputs)
    )

    @one.replace
    def _(op, m):
        inputs = (m.inner, m.b) if side == "A" else (m.a, m.inner)
        return op.FusedMatMul(*inputs, domain=DOMAIN, **{f"trans{side}": 1})

    @one.example
    def _(g):
        lead = g.shape(most=2)
        m, k, n = (g.integer(1, 3) for _ in range(3))
        shapes = {"A": [[*lead, k, m], [*lead, k, n]], "B": [[*lead, m, k], [*lead, n, k]]}[side]
        a, b = (g.input(shape, static=True) for shape in shapes)
        perm = [*range(len(lead)), len(lead) + 1, len(lead)]
        turned = g.Transpose(a if side == "A" else b, perm=perm)
        g.output(g.MatMul(turned, b) if side == "A" else g.MatMul(a, turned))

    return one


def _also_transposed(p):
    turned = p.Transpose(p.inner, perm=p.attribute(where=_swaps_last), shared=True)
    return p.FusedMatMul(p.a, turned, domain=DOMAIN, as_="product", where=lambda node: "transB" not in node.attributes)


def _scaled(name, made, divides):
    """The rule that takes a factor after the product in."""

    def pattern(p):
        number = p.constant("alpha", where=_one)
        return p.Div(made(p), number) if divides else p.Mul(made(p), number)

    one = Rule(f"fused-matmul-{name}", "rounding", pattern)
    one.require("the number is not zero and does not add axes, and the type is float32 or float16")(
        lambda m: m.a.dtype in _TYPES and float(m.alpha.reshape(())) != 0 and keeps_rank(m, m.product.outputs[0])
    )

    @one.replace
    def _(op, m):
        number = float(m.alpha.reshape(()))
        before = m.product.attributes.get_float("alpha", 1.0)
        alpha = before / number if divides else before * number
        return op.op("FusedMatMul", m.a, m.b, domain=DOMAIN, like=m.product, alpha=alpha)

    return one


def _plain(p):
    return p.MatMul(p.a, p.b, as_="product")


def _fused(p):
    return p.FusedMatMul(p.a, p.b, domain=DOMAIN, as_="product")


both = rule("fused-matmul-both", fidelity="rounding")(_also_transposed)


@both.replace
def _(op, m):
    return op.op("FusedMatMul", m.a, m.inner, domain=DOMAIN, like=m.product, transB=1)


SCALED = tuple(
    _scaled(f"{stem}{'by' if divides else 'times'}", made, divides)
    for stem, made in (("", _plain), ("fused-", _fused))
    for divides in (False, True)
)


def _scale_example(one, fused, divides):
    @one.example
    def _(g):
        rank = g.integer(2, 3)
        a, b = (g.input([*[2] * (rank - 2), m, n], static=True) for m, n in ((2, 3), (3, 1)))
        product = g.FusedMatMul(a, b, domain=DOMAIN, alpha=0.5) if fused else g.MatMul(a, b)
        g.output((g.Div if divides else g.Mul)(product, g.constant(4.0)), rank)


for number_, one_ in enumerate(SCALED):
    _scale_example(one_, fused=number_ > 1, divides=bool(number_ % 2))


@both.example
def _(g):
    a, b = g.input([3, 2], static=True), g.input([4, 3], static=True)
    g.output(g.FusedMatMul(a, g.Transpose(b, perm=[1, 0]), domain=DOMAIN, transA=1), 2)


RULES = (_transposed("A"), _transposed("B"), both, *SCALED)
