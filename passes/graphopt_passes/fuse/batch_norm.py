"""Make one BatchNormalization of a scale and a bias for each channel.

    x[N, C, …] ─ Mul(s) ─ Add(t) ─ y      becomes      x ─ BatchNormalization(s, t, 0, 1) ─ y

also Div for Mul and Sub for Add. Layers next to it have taken in what they can before (`fuse-conv-scale`,
`fuse-conv-bias`). One node instead of two, and onnxruntime 1.31 takes half the time for it. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import opset_of, shape_of
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.fuse.channels import per_channel

_SINCE = 9
"""Opset from which BatchNormalization has no attributes of its own for inference."""


@rule("scale-and-bias", fidelity="rounding")
def scale_and_bias(p):
    return p.op(("Add", "Sub"), p.op(("Mul", "Div"), p.x, p.constant("s"), as_="scaled"), p.constant("t"))


@rule("bias-and-scale", fidelity="rounding")
def bias_and_scale(p):
    return p.op(("Mul", "Div"), p.op(("Add", "Sub"), p.x, p.constant("t"), as_="shifted"), p.constant("s"))


def _vectors(m) -> tuple[np.ndarray, np.ndarray] | None:
    """Scale and bias as vectors by channel; None where they are not that."""
    shape = shape_of(m.x)
    if shape is None or len(shape) < 2 or not isinstance(shape[1], int):
        return None
    scale, bias = (per_channel(array, len(shape), shape[1]) for array in (m.s, m.t))
    return None if scale is None or bias is None else (scale, bias)


@scale_and_bias.require("one of the constants differs by channel, and none along another axis")
@bias_and_scale.require("one of the constants differs by channel, and none along another axis")
def _(m):
    if m.x.dtype != ir.DataType.FLOAT or opset_of(m.root.graph) < _SINCE:
        return False
    return max(m.s.size, m.t.size) > 1 and _vectors(m) is not None


@scale_and_bias.require("no divisor is zero")
@bias_and_scale.require("no divisor is zero")
def _(m):
    divides = "Div" in (m.root.op_type, *(n.op_type for n in m.nodes))
    return not divides or bool((m.s != 0).all())


def _norm(op, m, divides: bool, subtracts: bool, bias_first: bool):
    scale, bias = _vectors(m)
    scale = 1.0 / scale if divides else scale
    bias = (-bias if subtracts else bias) * (scale if bias_first else 1.0)
    still, plain = np.zeros(len(scale), np.float32), np.ones(len(scale), np.float32)
    parameters = (scale.astype(np.float32), bias.astype(np.float32), still, plain)
    return op.BatchNormalization(m.x, *parameters, epsilon=0.0)


@scale_and_bias.replace
def _(op, m):
    return _norm(op, m, m.scaled.op_type == "Div", m.root.op_type == "Sub", bias_first=False)


@bias_and_scale.replace
def _(op, m):
    return _norm(op, m, m.root.op_type == "Div", m.shifted.op_type == "Sub", bias_first=True)


def _constants(g):
    behind = g.shape(most=2)
    x, tail = g.input([g.integer(1, 3), 3, *behind], static=True), (1,) * len(behind)
    return x, np.abs(g.normal(3, *tail)) + np.float32(0.5), g.normal(*g.pick([(), (1,), (3, *tail), (1, 3, *tail)]))


@scale_and_bias.example
def _(g):
    x, s, t = _constants(g)
    g.output(g.op(g.pick(["Add", "Sub"]), g.op(g.pick(["Mul", "Div"]), x, g.constant(s)), g.constant(t)))


@bias_and_scale.example
def _(g):
    x, s, t = _constants(g)
    g.output(g.op(g.pick(["Mul", "Div"]), g.op(g.pick(["Add", "Sub"]), x, g.constant(t)), g.constant(s)))


class FuseBatchNorm(RewritePass):
    """Make one BatchNormalization of a scale and a bias for each channel."""

    name = "fuse-batch-norm"
    rules = (scale_and_bias, bias_and_scale)
