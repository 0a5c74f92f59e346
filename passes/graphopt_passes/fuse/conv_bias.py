"""Fold the addition of a constant for each channel into the layer before it.

    x ─ Conv(w, b) ─ Add(c) ─ y                     becomes      x ─ Conv(w, b + c) ─ y       and Sub(c) as Add(-c)
    x ─ Conv ─ Add(z) ─ Add(c) ─ y                  becomes      x ─ Conv ─ Add(c) ─ Add(z) ─ y, and then as above
    x ─ Add(c) ─ Conv(w, b) ─ y  without padding    becomes      x ─ Conv(w, b + Σ w·c) ─ y

for Conv, ConvTranspose and Gemm (what goes before a layer, for Conv and Gemm). Holds where nothing else reads what is
between. Fidelity: rounding.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, readers
from graphopt.ir.schema import attribute
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.fuse.channels import LAYERS, as_type, at_input, at_output, bias_of, foldable, layer, shift_through

_FURTHEST = 16
"""Sums between a layer and a constant that are looked through."""


def _shifted(op, m, shift):
    bias = bias_of(m.layer, m.b) + shift
    more = {"beta": 1.0} if m.layer.op_type == "Gemm" else {}
    return op.op(m.layer.op_type, m.x, m.value("w"), as_type(bias, m.w), like=m.layer, **more)


@rule("conv-add", fidelity="rounding")
def conv_add(p):
    return p.Add(layer(p), p.constant("c"))


@rule("conv-sub", fidelity="rounding")
def conv_sub(p):
    return p.Sub(layer(p), p.constant("c"))


@conv_add.require("the constant has one element, or one for each channel")
@conv_sub.require("the constant has one element, or one for each channel")
def _(m):
    return at_output(m, m.c) is not None


@conv_add.replace
def _(op, m):
    return _shifted(op, m, at_output(m, m.c))


@conv_sub.replace
def _(op, m):
    return _shifted(op, m, -at_output(m, m.c))


@rule("move-summand-up", fidelity="rounding")
def move_summand_up(p):
    return p.Add(p.Add(p.x, p.z), p.constant("c"))


@move_summand_up.require("a layer that takes the constant lies above, and nothing else reads what is between")
def _(m):
    if constant(m.x) is not None or constant(m.z) is not None:
        return False
    return _taker(m.x, m.c) or _taker(m.z, m.c)


@move_summand_up.replace
def _(op, m):
    near, far = (m.x, m.z) if _taker(m.x, m.c) else (m.z, m.x)
    return op.Add(op.Add(near, m.value("c")), far)


def _taker(value: ir.Value, array: np.ndarray) -> bool:
    """Whether a value is a sum that a layer takes part in, which can take the constant as its bias."""
    waiting = [value]
    for _ in range(_FURTHEST):
        if not waiting:
            break
        one = waiting.pop()
        node = one.producer()
        if node is None or node.domain or one.is_graph_output() or len(list(islice(readers(one), 2))) != 1:
            continue
        if node.op_type in LAYERS and len(node.inputs) > 1 and _takes(node, array):
            return True
        if node.op_type == "Add":
            waiting += [v for v in node.inputs if v is not None]
    return False


def _takes(node: ir.Node, array: np.ndarray) -> bool:
    weight, bias = constant(node.inputs[1]), node.inputs[2] if len(node.inputs) > 2 else None
    if weight is None or (bias is not None and constant(bias) is None):
        return False
    rank = len(weight.shape)
    sizes = (1,) * (rank - array.ndim) + array.shape
    return array.ndim <= rank and all(size == 1 for axis, size in enumerate(sizes) if axis != 1)


@rule("add-conv", fidelity="rounding")
def add_conv(p):
    return layer(p, ("Conv", "Gemm"), p.Add(p.x, p.constant("c")))


@rule("sub-conv", fidelity="rounding")
def sub_conv(p):
    return layer(p, ("Conv", "Gemm"), p.Sub(p.x, p.constant("c")))


@add_conv.require("the layer pads nothing, and the constant has one element, or one for each input channel")
@sub_conv.require("the layer pads nothing, and the constant has one element, or one for each input channel")
def _(m):
    return foldable(m) and pads_nothing(m.layer) and at_input(m, m.c) is not None


def pads_nothing(node: ir.Node) -> bool:
    """Whether every element that a layer reads is its input's, and a Gemm's channels are where they usually are."""
    if node.op_type == "Gemm":
        return not attribute(node, "transA")
    return attribute(node, "auto_pad") in ("NOTSET", "VALID") and not any(attribute(node, "pads") or ())


@add_conv.replace
def _(op, m):
    return _shifted(op, m, shift_through(m.layer, m.w, at_input(m, m.c)))


@sub_conv.replace
def _(op, m):
    return _shifted(op, m, -shift_through(m.layer, m.w, at_input(m, m.c)))


@conv_add.example
def _(g):
    made, channels = g.layer()
    g.output(g.Add(made, g.constant(g.along_channels(made, channels))))


@conv_sub.example
def _(g):
    made, channels = g.layer()
    g.output(g.Sub(made, g.constant(g.along_channels(made, channels))))


@move_summand_up.example
def _(g):
    made, channels = g.layer(("Conv",))
    other = g.input([1] * 3)
    total = g.Add(made, other) if g.flag() else g.Add(other, made)
    g.output(g.Add(total, g.constant(g.along_channels(made, channels))))


def _summand(g, op_type):
    return lambda x, channels: g.op(op_type, x, g.constant(g.along_channels(x, channels)))


@add_conv.example
def _(g):
    g.output(g.layer(("Conv", "Gemm"), _summand(g, "Add"), static=True)[0])


@sub_conv.example
def _(g):
    g.output(g.layer(("Conv", "Gemm"), _summand(g, "Sub"), static=True)[0])


class FuseConvBias(RewritePass):
    """Fold Add or Sub of a constant into the Conv, ConvTranspose or Gemm next to it."""

    name = "fuse-conv-bias"
    rules = (conv_add, conv_sub, add_conv, sub_conv, move_summand_up)
