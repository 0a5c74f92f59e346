"""Write com.microsoft's quantized functions as the function between conversions, for backends that lack them.

    a, b ─ QLinearAdd ─ y      becomes      a, b ─ DequantizeLinear each ─ Add ─ QuantizeLinear ─ y

and in the same way QLinearMul, QLinearWhere, QLinearConcat, QLinearSigmoid, QLinearLeakyRelu, QLinearSoftmax
and the pools, with channels first or last. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import Rule
from graphopt_passes.legalize.quantized import real, whole
from graphopt_passes.scalars import rank_of

_CONTRIB = "com.microsoft"
_SOFTMAX_ONE_AXIS_SINCE = 13


def _given(m, *counts):
    """The inputs in groups of (value, scale, zero point), missing ones None."""
    inputs = [*m.inputs, *[None] * (sum(counts) - len(m.inputs))]
    groups, at = [], 0
    for count in counts:
        groups.append(inputs[at : at + count])
        at += count
    return groups


def _binary(op, m):
    a, b, y = _given(m, 3, 3, 2)
    return whole(op, op.op(m.fused.op_type.removeprefix("QLinear"), real(op, *a), real(op, *b)), *y)


def _where(op, m):
    (condition,), a, b, y = _given(m, 1, 3, 3, 2)
    return whole(op, op.Where(condition, real(op, *a), real(op, *b)), *y)


def _concat(op, m):
    y, *parts = _given(m, 2, *[3] * ((len(m.inputs) - 2) // 3))
    return whole(op, op.Concat(*(real(op, *part) for part in parts), axis=attribute(m.fused, "axis")), *y)


def _unary(op, m):
    x, y = _given(m, 3, 2)
    return whole(op, op.op(m.fused.op_type.removeprefix("QLinear"), real(op, *x), like=m.fused), *y)


def _softmax(op, m):
    x, y = _given(m, 3, 2)
    if (attribute(m.fused, "opset") or 1) < _SOFTMAX_ONE_AXIS_SINCE or op.opset < _SOFTMAX_ONE_AXIS_SINCE:
        rank, axis = rank_of(x[0]), attribute(m.fused, "axis")
        # up to opset 12, Softmax goes over all axes from this one on
        if op.opset >= _SOFTMAX_ONE_AXIS_SINCE and (rank is None or axis not in (-1, rank - 1)):
            raise op.decline("it goes over several axes")
    return whole(op, op.Softmax(real(op, *x), axis=attribute(m.fused, "axis")), *y)


def _pool(op, m):
    x, y = _given(m, 3, 2)
    value, last = real(op, *x), attribute(m.fused, "channels_last")
    rank = rank_of(x[0])
    if last and rank is None:
        raise op.decline("the rank of its input is not known")
    value = op.Transpose(value, perm=[0, rank - 1, *range(1, rank - 1)]) if last else value
    pooled = op.op(m.fused.op_type.removeprefix("QLinear"), value, like=m.fused, channels_last=None)
    return whole(op, op.Transpose(pooled, perm=[0, *range(2, rank), 1]) if last else pooled, *y)


_WRITE = {
    "QLinearAdd": _binary, "QLinearMul": _binary, "QLinearWhere": _where, "QLinearConcat": _concat,
    "QLinearSigmoid": _unary, "QLinearLeakyRelu": _unary, "QLinearSoftmax": _softmax,
    "QLinearAveragePool": _pool, "QLinearGlobalAveragePool": _pool,
}  # fmt: skip


def _rule(op_type, write):
    one = Rule(
        f"quantized-{op_type.removeprefix('QLinear').lower()}", "rounding",
        lambda p: p.op(op_type, p.rest("inputs"), as_="fused", domain=_CONTRIB),
    )  # fmt: skip
    one.replace(write)
    one.example(lambda g: _example(g, op_type))
    return one


def _scaled(g, *shape):
    return g.input(shape, 2), *_to(g, 0.0137)


def _to(g, step=0.0171):
    """A scale and a zero point; the steps before and after differ, so that no result lies between two numbers."""
    return g.constant(g.positive() * np.float32(step)), g.constant(np.array(g.integer(0, 100), np.uint8))


def _steps(g):
    return g.constant(np.float32(1 / 256)), g.constant(np.array(g.integer(0, 100), np.uint8))


def _example(g, op_type):
    shape = [2, g.integer(1, 3), 4, 4]
    x, last = _scaled(g, *shape), {"channels_last": 0}
    operands, options = {
        "QLinearAdd": lambda: ([*x, *_scaled(g, *shape), *_to(g)], {}),
        "QLinearMul": lambda: ([*x, *_scaled(g, *shape), *_to(g)], {}),
        "QLinearWhere": lambda: ([g.input(shape, g.BOOL), *x, *_scaled(g, *shape), *_to(g)], {}),
        "QLinearConcat": lambda: ([*_to(g), *x, *_scaled(g, *shape)], {"axis": 1}),
        "QLinearSigmoid": lambda: ([*x, *_to(g)], {}),
        "QLinearLeakyRelu": lambda: ([*x, *_to(g)], {"alpha": 0.3}),
        "QLinearSoftmax": lambda: ([*x, *_steps(g)], {"axis": -1, "opset": 13}),  # it inverts others roughly
        "QLinearAveragePool": lambda: ([*x, *_to(g)], {"kernel_shape": [2, 2], **last}),
        "QLinearGlobalAveragePool": lambda: ([*x, *_to(g)], last),
    }[op_type]()
    g.output(g.Cast(g.op(op_type, *operands, domain=_CONTRIB, **options), to=g.FLOAT), 4)


class DecomposeQuantizedFunctions(Substitution):
    """Write com.microsoft's QLinear functions as the function between conversions from and to integers."""

    name = "decompose-quantized-functions"
    rules = tuple(_rule(op_type, write) for op_type, write in _WRITE.items())
