"""Take away what can change nothing but the sign of a zero.

    x + 0, x − (−0), 0 − x ─ y                             becomes      x, x, −x ─ y
    where(¬c, a, b), where(c, a, a), where(true, a, b)     becomes      where(c, b, a), a, a
    x ─ AveragePool(1×1) ─ y                               becomes      x ─ y
    x[N, C, 1, 1] ─ GlobalAveragePool ─ y                  becomes      x ─ y
    x[N, 1] ─ ReduceSum(1) ─ y                             becomes      x ─ y

−0 + 0 is +0, and so is a sum that begins at 0; onnxruntime's Where adds its two sides up as well. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import opset
from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.canonicalize.eliminate_degenerate import reduction_of_one
from graphopt_passes.canonicalize.simplify_arithmetic import keeps_shape, passes_on

_BROADCASTING = 7
"""Opset from which both inputs broadcast; before, an attribute said how the second does."""


def zeros(array: np.ndarray) -> bool:
    """A condition on a constant: every element is a zero of either sign."""
    return array.dtype.kind in "fiV" and array.size > 0 and not (array != 0).any()


def _with_zero(op_type: str):
    def example(g):
        shape = g.shape(least=1)
        size = g.pick([(), shape, shape[1:]])
        zero = g.constant(np.full(size, g.pick([0.0, -0.0]), np.float32))
        g.output(g.op(op_type, g.Neg(g.input(shape, static=True)), zero))

    return example


add_zero = passes_on(
    "add-zero", lambda p: p.Add(p.x, p.constant("c", where=zeros)), _with_zero("Add"), fidelity="rounding"
)
sub_zero = passes_on(
    "sub-any-zero", lambda p: p.Sub(p.x, p.constant("c", where=zeros)), _with_zero("Sub"), fidelity="rounding"
)


@rule("zero-minus", fidelity="rounding")
def zero_minus(p):
    return p.Sub(p.constant("c", where=zeros), p.x)


@zero_minus.require("the constant does not make the tensor larger, and broadcasts by itself")
def _(m):
    return opset(m.root) >= _BROADCASTING and keeps_shape(m)


@zero_minus.replace
def _(op, m):
    return op.Neg(m.x)


@zero_minus.example
def _(g):
    g.output(g.Sub(g.constant(0.0), g.Relu(g.input(g.shape()))))


@rule("where-not", fidelity="rounding")
def where_not(p):
    return p.Where(p.Not(p.c), p.a, p.b)


@where_not.replace
def _(op, m):
    return op.Where(m.c, m.b, m.a)


@where_not.example
def _(g):
    shape = g.shape()
    a, b = g.input(shape), g.input(shape)
    g.output(g.Where(g.Not(g.Greater(a, b)), a, b))


@rule("where-same", fidelity="rounding")
def where_same(p):
    return p.Where(p.value("condition"), p.x, p.x)


where_same.require("the condition does not make the tensor larger")(keeps_shape)


@where_same.replace
def _(op, m):
    return m.x


@where_same.example
def _(g):
    x = g.Neg(g.input(g.shape(), static=True))
    g.output(g.Where(g.Greater(x, g.constant(0.0)), x, x))


@rule("where-decided", fidelity="rounding")
def where_decided(p):
    return p.Where(p.constant("condition", where=lambda c: c.size > 0 and bool(c.all() or not c.any())), p.a, p.b)


@where_decided.require("the other side does not make the tensor larger")
def _(m):
    shape = dims_of(m.a if m.condition.all() else m.b)
    return shape is not None and shape == dims_of(m.root.outputs[0])


@where_decided.replace
def _(op, m):
    return m.a if m.condition.all() else m.b


@where_decided.example
def _(g):
    shape = g.shape()
    a, b = (g.Neg(g.input(shape, static=True)) for _ in range(2))
    g.output(g.Where(g.constant(np.full(g.pick([(), shape]), g.flag())), a, b))


@rule("average-of-one", fidelity="rounding")
def average(p):
    return p.AveragePool(p.x)


@average.require("the window is one element, the stride is one, and nothing is padded")
def _(m):
    kernel, strides, pads = (attribute(m.root, name) for name in ("kernel_shape", "strides", "pads"))
    plain = kernel is not None and all(k == 1 for k in kernel) and all(s == 1 for s in strides or ())
    return plain and not any(pads or ())


@average.replace
def _(op, m):
    return m.x


@average.example
def _(g):
    g.output(g.AveragePool(g.Neg(g.input([1, 2, g.integer(1, 4), g.integer(1, 4)])), kernel_shape=[1, 1]))


@rule("global-average-of-one", fidelity="rounding")
def global_average(p):
    return p.GlobalAveragePool(p.x)


@global_average.require("every spatial axis has one element")
def _(m):
    dims = dims_of(m.x)
    return dims is not None and all(dim.number == 1 for dim in dims[2:])


@global_average.replace
def _(op, m):
    return m.x


@global_average.example
def _(g):
    g.output(g.GlobalAveragePool(g.Neg(g.input([g.integer(1, 3), 2, 1, 1], static=True))))


reduce_one = reduction_of_one("sum-of-one", ("ReduceSum", "ReduceMean"), "rounding")


class SimplifyZeros(RewritePass):
    """Take away what can change nothing but the sign of a zero: x + 0, averages of one, decided Wheres."""

    name = "simplify-zeros"
    rules = (
        add_zero, sub_zero, zero_minus, where_not, where_same, where_decided, average, global_average, reduce_one,
    )  # fmt: skip
