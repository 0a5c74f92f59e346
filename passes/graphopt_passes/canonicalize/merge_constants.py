"""Make one constant of two that meet one after the other.

    (x + 2) + 3, (x + 2) − (−3), 3 + (2 − x) ─ y         becomes      x + 5, x + 5, 5 − x ─ y
    (x · 2) · 3, (x · 6) / 2, (x / 2) / 3, 6 / (x · 2) ─ y      becomes      x · 6, x · 3, x / 6, 3 / x ─ y

Sums merge where both summands have one sign, element by element: (x + 10⁸) − 10⁸ rounds x on purpose. Products merge
where what comes out is finite and has lost no digits to underflow. The constant that comes out must not be larger than
the two. Fidelity: rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, opset
from graphopt.pipeline import RewritePass
from graphopt.rewrite import Match, Rule, rule

_SUMS, _PRODUCTS = ("Add", "Sub"), ("Mul", "Div")
_INVERSE = ("Sub", "Div")
_BROADCASTING = 7
"""Opset from which both inputs broadcast; before, an attribute said how the second does."""
_LARGEST = 1 << 16


@dataclass(frozen=True)
class _Term:
    """A node as ±x + c, or as x^±1 · c."""

    x: ir.Value
    sign: int
    constant: np.ndarray


def _term(node: ir.Node) -> _Term | None:
    """A node with one constant input as a term; None where it has none, or one that is not to be looked into."""
    for at in (0, 1):
        tensor, x = constant(node.inputs[at]), node.inputs[1 - at]
        if tensor is None or x is None or constant(x) is not None or tensor.size > _LARGEST:
            continue
        array = tensor.numpy()
        if array.dtype.kind not in "fV" or not array.size or not np.isfinite(array.astype(np.float64)).all():
            continue
        wide, inverse = array.astype(np.float64), node.op_type in _INVERSE
        if inverse and at == 1:
            if node.op_type == "Div" and not wide.all():
                return None
            return _Term(x, 1, -wide if node.op_type == "Sub" else 1 / wide)
        return _Term(x, -1 if inverse else 1, wide)
    return None


def _merged(m: Match) -> _Term | None:
    """The two nodes as one term, None where they must stay two."""
    inner, outer = _term(m.inner), _term(m.root)
    if inner is None or outer is None or outer.x is not m.inner.outputs[0] or opset(m.root) < _BROADCASTING:
        return None
    a, b = inner.constant, outer.constant
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return None
    if np.prod(shape, dtype=int) > max(a.size, b.size):
        return None
    if m.root.op_type in _SUMS:
        moved = outer.sign * a
        return None if (moved * b < 0).any() else _Term(inner.x, inner.sign * outer.sign, moved + b)
    if outer.sign < 0 and not a.all():
        return None
    return _Term(inner.x, inner.sign * outer.sign, b * a if outer.sign > 0 else b / a)


def _narrow(wide: np.ndarray, dtype: ir.DataType) -> np.ndarray | None:
    """The constant in its type, None where it overflows or loses digits to underflow."""
    import ml_dtypes

    with np.errstate(over="ignore", under="ignore"):
        array = wide.astype(dtype.numpy())
    size = np.abs(array.astype(np.float64))
    normal = size >= float(ml_dtypes.finfo(array.dtype).tiny)
    return array if np.isfinite(size).all() and (normal | (wide == 0)).all() else None


def _merge(op, m):
    term = _merged(m)
    array = None if term is None or term.x.dtype is None else _narrow(term.constant, term.x.dtype)
    if term is None or array is None:
        raise op.decline("the constants have different signs, broadcast to something larger, or leave their type")
    if m.root.op_type in _SUMS:
        return op.Add(term.x, array) if term.sign > 0 else op.Sub(array, term.x)
    if term.sign < 0:
        return op.Div(array, term.x)
    divisor = _narrow(1 / term.constant, term.x.dtype) if term.constant.all() else None
    if m.root.op_type == m.inner.op_type == "Div" and divisor is not None:
        return op.Div(term.x, divisor)
    return op.Mul(term.x, array)


def _chain(name: str, types: tuple[str, ...], first: bool) -> Rule:
    """A rule for two operators in a row; the inner one is the first or the second input of the outer one."""

    @rule(name, fidelity="rounding")
    def chain(p):
        inner = p.op(types, p.value(), p.value(), as_="inner")
        return p.op(types, inner, p.value()) if first else p.op(types, p.value(), inner)

    chain.replace(_merge)

    @chain.example
    def _(g):
        shape = g.shape()
        x, sign = g.Neg(g.input(shape)), g.pick([1, -1])
        a, b = (g.constant(sign * g.positive(*g.pick([(), shape]))) for _ in range(2))
        forward, backward = types
        inner = g.pick([g.op(forward, x, a), g.op(forward, a, x)])
        if first:
            g.output(g.op(forward, inner, b))
        else:
            g.output(g.op(forward, b, inner) if types == _SUMS else g.op(backward, b, inner))

    return chain


sum_left, sum_right = _chain("sum-sum", _SUMS, True), _chain("constant-sum", _SUMS, False)
product_left = _chain("product-product", _PRODUCTS, True)
product_right = _chain("constant-product", _PRODUCTS, False)


class MergeConstants(RewritePass):
    """Make one constant of two that meet one after the other: (x + 2) + 3, (x · 2) / 3, 3 − (2 − x)."""

    name = "merge-constants"
    rules = (sum_left, sum_right, product_left, product_right)
