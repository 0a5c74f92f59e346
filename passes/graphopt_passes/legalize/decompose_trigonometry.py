"""Write the trigonometric and hyperbolic functions out, for backends that lack them.

    Tan(x)       becomes      sin x / cos x
    Asin(x)      becomes      2·atan(x / (1 + √((1 - x)·(1 + x))))
    Acos(x)      becomes      π/2 - asin x
    Cosh(x)      becomes      ½·h·h + ½·g·g                      with h = exp(x/2) and g = exp(-x/2)
    Sinh(x)      becomes      tanh x · cosh x
    Asinh(x)     becomes      sign x · ln(a + max(a, 1)·√(1 + q²))      with a = |x| and q = min(a, 1) / max(a, 1)
    Acosh(x)     becomes      ln(x + √(x - 1)·√(x + 1))
    Atanh(x)     becomes      ½·(ln(1 + x) - ln(1 - x))

Abramowitz and Stegun, Handbook of Mathematical Functions, 4.4.32, 4.5.1, 4.5.3 and 4.6.20 to 4.6.22, in the forms that
overflow no earlier than their results, which float16 would feel at x = 12 or 256, and without a pole at the ends of
the domain. Acos, Asinh, Acosh and Atanh keep their absolute precision where they come near zero, not the relative one.
Fidelity: rounding.
"""

from __future__ import annotations

import math

from graphopt.legalize import Substitution
from graphopt.rewrite import Rule, rule
from graphopt_passes.scalars import is_float, number


def _rule(op_type: str) -> Rule:
    one = rule(f"write-out-{op_type.lower()}", fidelity="rounding")(lambda p: p.op(op_type, p.x))
    one.require("it is floating point")(lambda m: is_float(m.x))
    return one


tan, asin, acos = _rule("Tan"), _rule("Asin"), _rule("Acos")
cosh, sinh = _rule("Cosh"), _rule("Sinh")
asinh, acosh, atanh = _rule("Asinh"), _rule("Acosh"), _rule("Atanh")


@tan.replace
def _(op, m):
    return op.Div(op.Sin(m.x), op.Cos(m.x))


@asin.replace
def _(op, m):
    one = number(m.x, 1)
    leg = op.Sqrt(op.Mul(op.Sub(one, m.x), op.Add(m.x, one)))
    return op.Mul(op.Atan(op.Div(m.x, op.Add(leg, one))), number(m.x, 2))


@acos.replace
def _(op, m):
    return op.Sub(number(m.x, math.pi / 2), op.Asin(m.x))


@cosh.replace
def _(op, m):
    half = op.Mul(m.x, number(m.x, 0.5))

    def square(root):
        return op.Mul(op.Mul(root, number(m.x, 0.5)), root)

    return op.Add(square(op.Exp(half)), square(op.Exp(op.Neg(half))))


@sinh.replace
def _(op, m):
    return op.Mul(op.Tanh(m.x), op.Cosh(m.x))


@asinh.replace
def _(op, m):
    one = number(m.x, 1)
    size = op.Abs(m.x)
    # max(a, 1) and min(a, 1) by Relu, which is taken everywhere.
    large = op.Add(op.Relu(op.Sub(size, one)), one)
    small = op.Sub(one, op.Relu(op.Sub(one, size)))
    ratio = op.Div(small, large)
    root = op.Mul(op.Sqrt(op.Add(op.Mul(ratio, ratio), one)), large)
    return op.Mul(op.Sign(m.x), op.Log(op.Add(size, root)))


@acosh.replace
def _(op, m):
    one = number(m.x, 1)
    root = op.Mul(op.Sqrt(op.Sub(m.x, one)), op.Sqrt(op.Add(m.x, one)))
    return op.Log(op.Add(m.x, root))


@atanh.replace
def _(op, m):
    one = number(m.x, 1)
    return op.Mul(op.Sub(op.Log(op.Add(m.x, one)), op.Log(op.Sub(one, m.x))), number(m.x, 0.5))


def _example(one: Rule, op_type: str, *, inside: str = "") -> None:
    @one.example
    def _(g):
        x = g.input(g.shape())
        if inside == "unit":
            x = g.Mul(g.Tanh(x), g.constant(0.9))
        elif inside == "above":
            x = g.Add(g.Abs(x), g.constant(1.25))
        elif inside == "small":
            x = g.Tanh(x)
        g.output(g.op(op_type, x))


_example(tan, "Tan", inside="small")
_example(asin, "Asin", inside="unit")
_example(acos, "Acos", inside="unit")
_example(cosh, "Cosh", inside="small")
_example(sinh, "Sinh", inside="small")
_example(asinh, "Asinh")
_example(acosh, "Acosh", inside="above")
_example(atanh, "Atanh", inside="unit")


class DecomposeTrigonometry(Substitution):
    """Write Tan, Asin, Acos and the hyperbolic functions and their inverses out."""

    name = "decompose-trigonometry"
    rules = (tan, asin, acos, cosh, sinh, asinh, acosh, atanh)
