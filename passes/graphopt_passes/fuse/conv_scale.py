"""Fold a multiplication by a constant for each channel into the layer before it.

    x ─ Conv(w, b) ─ Mul(c) ─ y                 becomes      x ─ Conv(w·c, b·c) ─ y          and Div(c) as Mul(1/c)
    x ─ MatMul(w) ─ Add(b) ─ Mul(c) ─ y         becomes      x ─ MatMul(w·c) ─ Add(b·c) ─ y
    x ─ Conv ─ Reshape ─ Mul(2) ─ y             becomes      x ─ Conv ─ Mul(2) ─ Reshape ─ y, and then as above

for Conv, ConvTranspose, Gemm and MatMul. Holds where nothing else reads the layer's output. Fidelity: rounding.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, readers
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.fuse.channels import (
    WEIGHTED,
    as_type,
    at_output,
    bias_of,
    foldable,
    layer,
    scale_weight,
)
from graphopt_passes.scalars import rank_of, single

_MOVEMENT = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten")
_FURTHEST = 4
"""Movements between a layer and its factor that are looked through."""


def _scaled(op, m, factor):
    w = as_type(scale_weight(m.layer, m.w, factor), m.w)
    if m.b is None:
        return op.op(m.layer.op_type, m.x, w, like=m.layer)
    more = {"beta": 1.0} if m.layer.op_type == "Gemm" else {}
    return op.op(m.layer.op_type, m.x, w, as_type(bias_of(m.layer, m.b) * factor, m.w), like=m.layer, **more)


@rule("conv-mul", fidelity="rounding")
def conv_mul(p):
    return p.Mul(layer(p, WEIGHTED), p.constant("c"))


@conv_mul.require("the constant has one element, or one for each channel")
def _(m):
    return foldable(m) and at_output(m, m.c) is not None


@conv_mul.replace
def _(op, m):
    return _scaled(op, m, at_output(m, m.c))


@rule("conv-div", fidelity="rounding")
def conv_div(p):
    return p.Div(layer(p, WEIGHTED), p.constant("c"))


@conv_div.require("the constant has one element, or one for each channel, and none is zero")
def _(m):
    return foldable(m) and bool((m.c != 0).all()) and at_output(m, m.c) is not None


@conv_div.replace
def _(op, m):
    return _scaled(op, m, 1.0 / at_output(m, m.c))


def _biased(p):
    return p.Add(p.op("MatMul", p.x, p.constant("w"), as_="layer"), p.constant("b"))


@rule("matmul-add-mul", fidelity="rounding")
def matmul_add_mul(p):
    return p.Mul(_biased(p), p.constant("c"))


@rule("matmul-add-div", fidelity="rounding")
def matmul_add_div(p):
    return p.Div(_biased(p), p.constant("c"))


@matmul_add_mul.require("factor and bias have one element, or one for each channel, and no divisor is zero")
@matmul_add_div.require("factor and bias have one element, or one for each channel, and no divisor is zero")
def _(m):
    divisible = m.root.op_type == "Mul" or bool((m.c != 0).all())
    return foldable(m) and divisible and at_output(m, m.c) is not None and at_output(m, m.b) is not None


@matmul_add_mul.replace
@matmul_add_div.replace
def _(op, m):
    factor = at_output(m, m.c)
    factor = factor if m.root.op_type == "Mul" else 1.0 / factor
    w, b = scale_weight(m.layer, m.w, factor), at_output(m, m.b) * factor
    return op.Add(op.op("MatMul", m.x, as_type(w, m.w), like=m.layer), as_type(b, m.w))


@rule("move-factor-up", fidelity="exact")
def move_factor_up(p):
    return p.op(("Mul", "Div"), p.op(_MOVEMENT, p.x, p.rest("more"), as_="moved"), p.constant("c", where=single))


@move_factor_up.require("the factor does not make the tensor larger")
def _(m):
    rank = rank_of(m.moved.outputs[0])
    return m.c.ndim == 0 or (rank is not None and m.c.ndim <= rank)


@move_factor_up.require("a layer with constant weights lies above, and nothing else reads what is between")
def _(m):
    value = m.x
    for _ in range(_FURTHEST):
        node = value.producer()
        if node is None or value.is_graph_output() or len(list(islice(readers(value), 2))) != 1:
            return False
        if node.op_type in WEIGHTED or (node.op_type == "Add" and _is_biased(node)):
            return any(constant(w) is not None for w in node.inputs[1:2]) or node.op_type == "Add"
        if node.op_type not in _MOVEMENT:
            return False
        value = node.inputs[0]
    return False


def _is_biased(node: ir.Node) -> bool:
    made, other = node.inputs if constant(node.inputs[1]) is not None else node.inputs[::-1]
    product = made.producer()
    return (
        constant(other) is not None
        and product is not None
        and (product.op_type == "MatMul" and constant(product.inputs[1]) is not None)
    )


@move_factor_up.replace
def _(op, m):
    factor = m.c.reshape(())
    scaled = op.op(m.root.op_type, m.x, np.array(factor), like=m.root)
    return op.op(m.moved.op_type, scaled, *m.more, like=m.moved)


@conv_mul.example
def _(g):
    made, channels = g.layer(("Conv", "ConvTranspose", "Gemm"))
    g.output(g.Mul(made, g.constant(g.along_channels(made, channels))))


@conv_mul.example
def _(g):
    made, channels = g.layer(("MatMul",))
    g.output(g.Mul(made, g.constant(g.normal(*g.pick([(), (1,), (channels,), (1, channels)])))))


@conv_div.example
def _(g):
    made, channels = g.layer()
    g.output(g.Div(made, g.constant(np.abs(g.along_channels(made, channels)) + np.float32(0.5))))


def _biased_example(g):
    made, channels = g.layer(("MatMul",))
    return g.Add(g.constant(g.normal(channels)), made), channels


@matmul_add_mul.example
def _(g):
    made, channels = _biased_example(g)
    g.output(g.Mul(made, g.constant(g.normal(*g.pick([(), (1,), (channels,)])))))


@matmul_add_div.example
def _(g):
    made, channels = _biased_example(g)
    g.output(g.Div(made, g.constant(g.positive(*g.pick([(), (1,), (channels,)])))))


@move_factor_up.example
def _(g):
    made, _ = g.layer(("Gemm",))
    moved = g.Transpose(made, perm=[1, 0])
    g.output(g.Mul(moved, g.constant(0.125)) if g.flag() else g.Div(moved, g.constant(8.0)))


class FuseConvScale(RewritePass):
    """Fold Mul or Div by a constant into the Conv, ConvTranspose, Gemm or MatMul before it."""

    name = "fuse-conv-scale"
    rules = (conv_mul, conv_div, matmul_add_mul, matmul_add_div, move_factor_up)
