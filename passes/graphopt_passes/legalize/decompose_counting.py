"""Write EyeLike and Range out, for backends that lack them or one of their types.

    x[r, c] ─ EyeLike(k) ─ y                     becomes      a constant
    Range(start, limit, delta), n elements       becomes      start + (0 1 … n - 1) · delta
    Range(start, limit, delta), of floats        becomes      start + Cast(Range(0, n, 1)) · delta
                                                              with n = max(⌈(limit - start) / delta⌉, 0)

(ONNX, Range.) The second where inference tells n; com.microsoft's Range becomes ONNX's, with a delta of 1 by default.
Fidelity: rounding; exact of integers.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.scalars import is_float, number

DOMAIN = "com.microsoft"
_SINCE = 11


@rule("constant-eye", fidelity="exact")
def eye(p):
    return p.EyeLike(p.x)


@eye.require("its shape is known")
def _(m):
    return static_shape(m.x) is not None and m.x.dtype is not None


@eye.replace
def _(op, m):
    given = attribute(m.root, "dtype")
    dtype = m.x.dtype if given is None else ir.DataType(given)
    # a constant must be named by a node where it is an output of the graph
    return op.Identity(np.eye(*static_shape(m.x), attribute(m.root, "k"), dtype.numpy()))


def _scaled(op, m, counted):
    return op.Add(m.start, op.Mul(counted, m.delta))


@rule("start-and-steps", fidelity="rounding")
def known(p):
    return p.Range(p.start, p.limit, p.delta)


@known.require("inference tells how many numbers there are")
def _(m):
    return static_shape(m.root.outputs[0]) is not None and m.start.dtype is not None


@known.replace
def _(op, m):
    return _scaled(op, m, np.arange(*static_shape(m.root.outputs[0]), dtype=m.start.dtype.numpy()))


@rule("range-of-onnx", fidelity="exact")
def microsoft(p):
    return p.Range(p.start, p.limit, p.optional(p.delta), domain=DOMAIN)


@microsoft.replace
def _(op, m):
    if op.opset < _SINCE:
        raise op.decline("ONNX has Range from opset 11 on")
    delta = number(m.start, 1) if m.delta is None else m.delta
    return op.Range(*(_scalar(op, one) for one in (m.start, m.limit, delta)))


def _scalar(op, value):
    """The value without the axis that it may have here, and not in the standard."""
    if isinstance(value, np.ndarray) or static_shape(value) == ():
        return value
    return op.Reshape(value, np.array([], np.int64))


@rule("count-in-integers", fidelity="rounding")
def floats(p):
    return p.Range(p.start, p.limit, p.delta)


floats.require("it is floating point")(lambda m: is_float(m.start))


@floats.replace
def _(op, m):
    count = op.Ceil(op.Div(op.Sub(m.limit, m.start), m.delta))
    stop = op.Cast(op.Max(count, number(m.start, 0)), to=int(ir.DataType.INT64))
    places = op.Range(np.array(0, np.int64), stop, np.array(1, np.int64))
    return _scaled(op, m, op.Cast(places, to=int(m.start.dtype)))


@eye.example
def _(g):
    x = g.input([g.integer(1, 4), g.integer(1, 4)], static=True)
    kind = {"dtype": g.pick([g.FLOAT, g.INT32])} if g.flag() else {}
    g.output(g.EyeLike(x, k=g.integer(-2, 2), **kind))


def _limits(g):
    kind = g.pick([np.int64, np.float32])
    start, count = g.integer(-3, 3), g.integer(0, 4)
    return [g.constant(np.array(number, kind)) for number in (start, start + 2 * count, 2)]


@known.example
def _(g):
    g.output(g.Range(*_limits(g)), 1)


@microsoft.example
def _(g):
    made = g.Range(*_limits(g)[: g.pick([2, 3])], domain=DOMAIN)
    g.output(g.Cast(made, to=g.FLOAT), 1)


@floats.example
def _(g):
    # the last element is there or not by a rounding error, unless the step divides the way
    start = g.Round(g.Tanh(g.input([], finite=True)))
    limit = g.Add(start, g.constant(g.integer(-2, 6) * 0.5))
    g.output(g.Range(start, limit, g.constant(0.5)), 1)


class DecomposeCounting(Substitution):
    """Write EyeLike as a constant and Range as start and steps."""

    name = "decompose-counting"
    rules = (eye, known, microsoft, floats)
