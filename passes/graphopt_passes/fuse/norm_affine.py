"""Take a scale and a bias that follow a normalization into it.

    x ─ LayerNormalization(s, b) ─ Mul(c) ─ y      becomes      x ─ LayerNormalization(s·c, b·c) ─ y
    x ─ LayerNormalization(s, b) ─ Add(c) ─ y      becomes      x ─ LayerNormalization(s, b + c) ─ y

and likewise for RMSNormalization (scale only), InstanceNormalization, GroupNormalization from opset 21 on (before, its
scale is one number a group) and BatchNormalization that does not train. Constants are multiplied out; in place of a
missing bias and of a scale of ones, any value of the right shape will do. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, opset_of, shape_of, static_shape
from graphopt.ir.schema import attribute
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.fuse.channels import as_type, per_channel

_BY_ELEMENT = ("LayerNormalization", "RMSNormalization")
_BY_CHANNEL = ("InstanceNormalization", "GroupNormalization", "BatchNormalization")
_PER_CHANNEL_SINCE = 21
"""Opset from which GroupNormalization has a scale for each channel."""


def _norm(p, types):
    return p.op(types, p.x, p.constant("scale"), p.rest("more"), as_="norm", where=_fixed)


def _fixed(node: ir.Node) -> bool:
    """Whether only the first output of a normalization counts, and its parameters are what they say."""
    trains = attribute(node, "training_mode") or attribute(node, "is_test") == 0
    if trains or any(v.name for v in node.outputs[1:]):
        return False
    return node.op_type != "GroupNormalization" or opset_of(node.graph) >= _PER_CHANNEL_SINCE


def _spread(m, array) -> np.ndarray | None:
    """A constant that meets the output, as an array of the shape of the normalization's scale; None where it is not."""
    shape = shape_of(m.x)
    if shape is None or array.ndim > len(shape):
        return None
    if m.norm.op_type in _BY_CHANNEL:
        return per_channel(array, len(shape), m.scale.size) if m.scale.ndim == 1 else None
    rank = m.scale.ndim
    sizes = (1,) * (len(shape) - array.ndim) + array.shape
    if tuple(shape[len(shape) - rank :]) != m.scale.shape or any(size != 1 for size in sizes[: len(shape) - rank]):
        return None
    inner = sizes[len(shape) - rank :]
    if any(size not in (1, whole) for size, whole in zip(inner, m.scale.shape, strict=True)):
        return None
    return np.broadcast_to(array.reshape(inner), m.scale.shape).astype(np.float64)


def _bias(m) -> np.ndarray | None:
    """The bias of the normalization, zeros where it has none, None where it is computed."""
    if not m.more or m.more[0] is None:
        return np.zeros(m.scale.shape)
    tensor = constant(m.more[0])
    return None if tensor is None else tensor.numpy().astype(np.float64)


@rule("norm-mul", fidelity="rounding")
def norm_mul(p):
    return p.Mul(_norm(p, _BY_ELEMENT + _BY_CHANNEL), p.constant("c"))


@norm_mul.require("the constant is one number, or one for each scale, and the bias is a constant")
def _(m):
    return _spread(m, m.c) is not None and _bias(m) is not None


@norm_mul.replace
def _(op, m):
    factor = _spread(m, m.c)
    more = list(m.more)
    if more and more[0] is not None:
        more[0] = op.constant(as_type(_bias(m) * factor, m.scale))
    return op.op(m.norm.op_type, m.x, as_type(m.scale.astype(np.float64) * factor, m.scale), *more, like=m.norm)


@rule("norm-add", fidelity="rounding")
def norm_add(p):
    return p.Add(_norm(p, ("LayerNormalization", *_BY_CHANNEL)), p.constant("c"))


@norm_add.require("the constant is one number, or one for each scale, and the bias is a constant")
def _(m):
    return _spread(m, m.c) is not None and _bias(m) is not None


@norm_add.replace
def _(op, m):
    bias = as_type(_bias(m) + _spread(m, m.c), m.scale)
    return op.op(m.norm.op_type, m.x, m.value("scale"), bias, *m.more[1:], like=m.norm)


@rule("norm-mul-value", fidelity="rounding")
def norm_mul_value(p):
    return p.Mul(p.op(_BY_ELEMENT, p.x, p.constant("scale", equals=1.0), as_="norm", where=_fixed), p.c)


@rule("norm-add-value", fidelity="rounding")
def norm_add_value(p):
    return p.Add(p.op("LayerNormalization", p.x, p.scale, as_="norm", where=_fixed), p.c)


@norm_mul_value.require("the factor has the shape that is normalized")
def _(m):
    return _normalized_shape(m.norm) == static_shape(m.c)


@norm_add_value.require("the summand has the shape that is normalized")
def _(m):
    return _normalized_shape(m.norm) == static_shape(m.c)


def _normalized_shape(node: ir.Node) -> tuple[int, ...]:
    shape = shape_of(node.inputs[0])
    if shape is None:
        return (-1,)  # equal to no shape
    sizes = shape[int(attribute(node, "axis")) % len(shape) :]
    return tuple(int(s) if isinstance(s, int) else -1 for s in sizes)


@norm_mul_value.replace
def _(op, m):
    return op.op(m.norm.op_type, m.x, m.c, like=m.norm)


@norm_add_value.replace
def _(op, m):
    return op.LayerNormalization(m.x, m.scale, m.c, like=m.norm)


def _example(g, kinds):
    """A normalization of random kind, and a constant that it can take in."""
    kind = g.pick([one for one in kinds if one != "GroupNormalization"])  # the onnx package infers no shape for it
    g.since({"LayerNormalization": 17, "RMSNormalization": 23}.get(kind, 13))
    shape = [g.integer(1, 2), 4, g.integer(3, 5)]
    x = g.input(shape, static=True)
    if kind in _BY_ELEMENT:
        sizes = shape[g.pick([1, 2]) :]
        bias = [g.constant(g.normal(*sizes))] if kind == "LayerNormalization" and g.flag() else []
        made = g.op(kind, x, g.constant(g.normal(*sizes)), *bias, axis=-len(sizes))
        return made, g.pick([(), (1,), tuple(sizes)])
    scale, bias = g.constant(g.normal(4)), g.constant(g.normal(4))
    if kind == "BatchNormalization":
        made = g.op(kind, x, scale, bias, g.constant(g.normal(4)), g.constant(g.positive(4)))
    else:
        made = g.op(kind, x, scale, bias)
    return made, g.pick([(), (4, 1), (1, 4, 1)])


@norm_mul.example
def _(g):
    made, sizes = _example(g, _BY_ELEMENT + _BY_CHANNEL)
    g.output(g.Mul(made, g.constant(g.normal(*sizes))))


@norm_add.example
def _(g):
    made, sizes = _example(g, ("LayerNormalization", *_BY_CHANNEL))
    g.output(g.Add(made, g.constant(g.normal(*sizes))))


@norm_mul_value.example
def _(g):
    g.since(17)
    ones = g.constant(np.ones(4, np.float32))
    made = g.LayerNormalization(g.input([2, 4], static=True), ones)
    g.output(g.Mul(made, g.input([4], static=True)))


@norm_add_value.example
def _(g):
    g.since(17)
    made = g.LayerNormalization(g.input([2, 4], static=True), g.input([4], static=True))
    g.output(g.Add(made, g.input([4], static=True)))


class FuseNormAffine(RewritePass):
    """Take Mul and Add behind a normalization into its scale and bias."""

    name = "fuse-norm-affine"
    rules = (norm_mul, norm_add, norm_mul_value, norm_add_value)
