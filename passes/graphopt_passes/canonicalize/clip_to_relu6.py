"""Bring every spelling of min(max(x, a), b) into the Clip that backends know as ReLU6.

    x ─ Max(0) ─ Min(6) ─ y        x ─ Relu ─ Min(6) ─ y        x ─ Relu ─ Clip(…, 6) ─ y

each becomes x ─ Clip(0, 6) ─ y, and likewise for other bounds a ≤ b. Fidelity: rounding (only a zero may change its
sign: the standard does not say which zero Max(-0, 0) is; of a NaN all of them make a NaN).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.schema import attribute
from graphopt.pipeline import RewritePass
from graphopt.rewrite import Match, rule
from graphopt_passes.canonicalize.merge_clips import INPUT_BOUNDS, relu_clip

_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16)


def _single(array: np.ndarray) -> bool:
    return (array.size == 1 and array.ndim == 0) or array.shape == (1,)


def _float(m: Match) -> bool:
    return m.x.dtype in _FLOATS


@rule("max-min", fidelity="rounding")
def max_min(p):
    return p.Min(p.Max(p.x, p.constant("low", where=_single)), p.constant("high", where=_single))


@max_min.require("the lower bound is not above the upper one, and the tensor keeps its rank")
def _(m):
    shape = m.x.shape
    rank_stays = shape is not None and len(shape) >= max(m.low.ndim, m.high.ndim)
    return _float(m) and rank_stays and bool(m.low.reshape(()) <= m.high.reshape(()))


@max_min.replace
def _(op, m):
    return _clip(op, m.x, m.low.reshape(()), m.high.reshape(()))


@max_min.example
def _(g):
    x = g.Neg(g.input(g.shape(least=1)))
    g.output(g.Min(g.Max(x, g.constant(0.0)), g.constant(g.pick([6.0, 1.0]))))


@rule("relu-min", fidelity="exact")
def relu_min(p):
    return p.Min(p.Relu(p.x), p.constant("high", where=_single))


@relu_min.require("the bound is above zero, and the tensor keeps its rank")
def _(m):
    shape = m.x.shape
    return _float(m) and shape is not None and len(shape) >= m.high.ndim and bool(m.high.reshape(()) > 0)


@relu_min.replace
def _(op, m):
    high = m.high.reshape(())
    return _clip(op, m.x, np.zeros((), high.dtype), high)


@relu_min.example
def _(g):
    g.output(g.Min(g.Relu(g.Neg(g.input(g.shape(least=1)))), g.constant(6.0)))


def clip_bounds(node: ir.Node) -> tuple[float, float] | None:
    """Lower and upper bound of a Clip of any opset, infinite where it has none; None where one is computed."""
    from graphopt.ir.edit import constant

    bounds = [attribute(node, "min"), attribute(node, "max")]
    for index in (0, 1):
        value = node.inputs[index + 1] if len(node.inputs) > index + 1 else None
        if value is not None:
            tensor = constant(value)
            if tensor is None or tensor.size != 1:
                return None
            bounds[index] = tensor.numpy().item()
    low, high = bounds
    return (-np.inf if low is None else float(low)), (np.inf if high is None else float(high))


def _clip(op, x, low, high):
    if op.opset >= INPUT_BOUNDS:
        return op.Clip(x, low, high if np.isfinite(high) else None)
    return op.Clip(x, min=float(low), max=float(min(high, np.finfo(np.float32).max)))


class ClipToRelu6(RewritePass):
    """Bring Max-Min, Relu-Min and Relu-Clip into the Clip that backends know as ReLU6."""

    name = "clip-to-relu6"
    rules = (max_min, relu_min, relu_clip)
