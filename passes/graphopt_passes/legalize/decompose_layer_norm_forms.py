"""Write LayerNormalization and RMSNormalization in the forms that backends have: over the last axis, of one output.

    x[N, A, B] ─ LayerNormalization(axis 1) ─ y      becomes      x ─ Reshape[N, A·B] ─ LayerNormalization ─ Reshape ─ y
    x ─ LayerNormalization ─┬─ y                     becomes      x ─ LayerNormalization ─ y
                            ├─ mean                               mean = ReduceMean(x)
                            └─ deviation                          deviation = 1 / √(ReduceMean((x - mean)²) + ε)
    x ─ SimplifiedLayerNormalization ─ y             becomes      x ─ RMSNormalization ─ y, written out before opset 23

The last is onnxruntime's name for it. Mean and inverse standard deviation are of the type that the first part is
computed in (ONNX, LayerNormalization: stash_type). Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import is_read, static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import Rule, rule
from graphopt_passes.axes import reduce
from graphopt_passes.canonicalize.merge_slices import size_of
from graphopt_passes.legalize.normalize import rms_norm
from graphopt_passes.scalars import is_float, rank_of

_SINCE = 17
_EPSILON = 1e-5


def _axis(m) -> int:
    return int(attribute(m.root, "axis")) % rank_of(m.x)


@rule("normalize-one-axis", fidelity="rounding")
def last(p):
    return p.op(("LayerNormalization", "RMSNormalization"), p.x, p.scale, p.optional(p.bias))


@last.require("it goes over more than one axis, or over the last of size one, and their sizes are known")
def _(m):
    rank = rank_of(m.x)
    if not rank or not is_float(m.x) or _axis(m) == rank - 1:
        return False
    return all(size_of(m.x, axis) for axis in range(_axis(m), rank))


@last.replace
def _(op, m):
    axis, rank = _axis(m), rank_of(m.x)
    sizes = [size_of(m.x, one) for one in range(axis, rank)]
    flat = op.Reshape(m.x, np.array([0] * axis + [math.prod(sizes)], np.int64))
    weights = [_flat(op, one, sizes) for one in (m.scale, m.bias) if one is not None]
    normal = op.op(m.root.op_type, flat, *weights, like=m.root, axis=-1)
    return op.Reshape(normal, np.array([0] * axis + sizes, np.int64))


def _flat(op, weight, sizes):
    if (rank_of(weight) or 0) > len(sizes):
        raise op.decline("its weights have more axes than it goes over")
    if static_shape(weight) != tuple(sizes):
        weight = op.Expand(weight, np.array(sizes, np.int64))
    return op.Reshape(weight, np.array([-1], np.int64))


def _with_statistics(outputs: int) -> Rule:
    def pattern(p):
        node = p.op(
            "LayerNormalization", p.x, p.scale, p.optional(p.bias), where=lambda node: len(node.outputs) == outputs
        )
        return tuple(node[index] for index in range(outputs))

    one = Rule(f"statistics-apart-{outputs}", "rounding", pattern)

    @one.require("it is floating point of known rank")
    def _(m):
        return is_float(m.x) and bool(rank_of(m.x))

    @one.replace
    def _(op, m):
        normal = op.LayerNormalization(m.x, m.scale, m.bias, like=m.root)
        read = [is_read(value) or value.is_graph_output() for value in m.root.outputs[1:]]
        return [normal, *(_statistics(op, m) if any(read) else (normal, normal))][:outputs]

    @one.example
    def _(g):
        g.since(_SINCE)
        x, sizes, axis = _drawn(g)
        for value in g.LayerNormalization(x, g.constant(g.normal(*sizes)), axis=axis, outputs=outputs):
            g.output(value)

    return one


def _statistics(op, m):
    computed = ir.DataType(attribute(m.root, "stash_type"))
    x = m.x if m.x.dtype == computed else op.Cast(m.x, to=int(computed))
    axes = list(range(_axis(m), rank_of(m.x)))
    mean = reduce(op, "ReduceMean", x, axes)
    distance = op.Sub(x, mean)
    variance = reduce(op, "ReduceMean", op.Mul(distance, distance), axes)
    epsilon = np.array(attribute(m.root, "epsilon"), computed.numpy())
    return mean, op.Reciprocal(op.Sqrt(op.Add(variance, epsilon)))


@rule("rms-norm-of-onnxruntime", fidelity="rounding")
def simplified(p):
    return p.SimplifiedLayerNormalization(p.x, p.scale)


@simplified.require("it is floating point of known rank and goes over the last axis")
def _(m):
    axis = attribute(m.root, "axis")
    return is_float(m.x) and bool(rank_of(m.x)) and (axis in (None, -1) or axis == rank_of(m.x) - 1)


@simplified.replace
def _(op, m):
    epsilon = attribute(m.root, "epsilon")
    return rms_norm(op, m.x, m.scale, _EPSILON if epsilon is None else float(epsilon), m.x.dtype)


def _drawn(g):
    shape = [g.integer(1, 3), *g.shape(least=1, most=2), g.integer(3, 6)]
    axis = g.pick([1, -2, -len(shape)])
    return g.input(shape, static=True, finite=True), shape[axis:], axis


@last.example
def _(g):
    g.since(_SINCE)
    x, sizes, axis = _drawn(g)
    scale = g.constant(g.normal(*g.pick([sizes, sizes[-1:]])))
    bias = [g.constant(g.normal(*sizes))] if g.flag() else []
    g.output(g.LayerNormalization(x, scale, *bias, axis=axis, epsilon=g.pick([1e-5, 1e-3])))


@last.example
def _(g):
    g.since(23)
    x, sizes, axis = _drawn(g)
    g.output(g.RMSNormalization(x, g.constant(g.normal(*sizes)), axis=axis))


@simplified.example
def _(g):
    shape = [*g.shape(least=1, most=2), g.integer(3, 6)]
    x, scale = g.input(shape, static=True, finite=True), g.constant(g.normal(shape[-1]))
    g.output(g.SimplifiedLayerNormalization(x, scale, axis=-1, epsilon=g.pick([1e-5, 1e-3])), len(shape))


class DecomposeLayerNormForms(Substitution):
    """Write LayerNormalization and RMSNormalization over the last axis, with statistics computed apart."""

    name = "decompose-layer-norm-forms"
    rules = (last, _with_statistics(2), _with_statistics(3), simplified)
