"""Write normalizations out whose scale and bias are computed, or that train, for backends that fold constants.

    x ─ BatchNormalization(s, t, μ, σ²) ─ y      becomes      x ─ Sub(μ) ─ Mul(s / √(σ² + ε)) ─ Add(t) ─ y
    … (training_mode=1) ─┬─ y                    becomes      the same with μ and σ² of the batch, and
                         ├─ running mean                      m·μ₀ + (1 - m)·μ
                         └─ running variance                  m·σ²₀ + (1 - m)·σ²
    x ─ InstanceNormalization(s, t) ─ y          becomes      x ─ InstanceNormalization(1, 0) ─ Mul(s) ─ Add(t) ─ y
    x ─ GroupNormalization(s, t) ─ y             becomes      x ─ GroupNormalization(1, 0) ─ Mul(s) ─ Add(t) ─ y

with statistics of the batch over all axes but the channels, and σ² that of the whole (ONNX, BatchNormalization).
Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import constant
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.canonicalize.merge_slices import size_of
from graphopt_passes.legalize.decompose_instance_norm import PER_CHANNEL_SINCE
from graphopt_passes.scalars import is_float, number, rank_of

_TRAINS_SINCE = 14


def _along(op, m, value):
    """A value for each channel, as it is broadcast over the axes behind."""
    return op.Reshape(value, np.array([-1, *[1] * (rank_of(m.x) - 2)], np.int64))


def _one_type(m) -> bool:
    return is_float(m.x) and (rank_of(m.x) or 0) > 1 and all(one.dtype == m.x.dtype for one in m.root.inputs)


@rule("normalize-by-computed", fidelity="rounding")
def batch_norm(p):
    return p.BatchNormalization(p.x, p.scale, p.shift, p.mean, p.var)


@batch_norm.require("it does not train, is of one type and known rank")
def _(m):
    trains = attribute(m.root, "training_mode") or attribute(m.root, "is_test") == 0
    return _one_type(m) and not trains


@batch_norm.replace
def _(op, m):
    return _normalized(op, m, op.Sub(m.x, _along(op, m, m.mean)), m.var)


def _normalized(op, m, distance, variance):
    factor = op.Div(m.scale, op.Sqrt(op.Add(variance, number(m.x, attribute(m.root, "epsilon")))))
    return op.Add(op.Mul(distance, _along(op, m, factor)), _along(op, m, m.shift))


@rule("normalize-by-the-batch", fidelity="rounding")
def training(p):
    node = p.BatchNormalization(p.x, p.scale, p.shift, p.mean, p.var, where=lambda node: len(node.outputs) == 3)
    return node[0], node[1], node[2]


@training.require("it trains, is of one type and known rank")
def _(m):
    return _one_type(m) and bool(attribute(m.root, "training_mode"))


@training.replace
def _(op, m):
    if op.opset < _TRAINS_SINCE:
        raise op.decline("before opset 14 BatchNormalization trains with other outputs")
    axes = [axis for axis in range(rank_of(m.x)) if axis != 1]
    middle = reduce(op, "ReduceMean", m.x, axes)
    distance = op.Sub(m.x, middle)
    mean, variance = (
        op.Reshape(one, np.array([-1], np.int64))
        for one in (middle, reduce(op, "ReduceMean", op.Mul(distance, distance), axes))
    )
    return _normalized(op, m, distance, variance), _moved(op, m, m.mean, mean), _moved(op, m, m.var, variance)


def _moved(op, m, running, current):
    momentum = attribute(m.root, "momentum")
    return op.Add(op.Mul(running, number(m.x, momentum)), op.Mul(current, number(m.x, 1 - momentum)))


def _plain(kind):
    one = rule(f"scale-behind-{kind.removesuffix('Normalization').lower()}-norm", fidelity="rounding")(
        lambda p: p.op(kind, p.x, p.scale, p.bias)
    )

    @one.require("its scale or its bias is computed, it is floating point, and its channels are known")
    def _(m):
        computed = constant(m.scale) is None or constant(m.bias) is None
        return computed and is_float(m.x) and (rank_of(m.x) or 0) > 2 and size_of(m.x, 1) is not None

    @one.replace
    def _(op, m):
        groups = attribute(m.root, "num_groups")
        grouped = groups is not None and op.opset < PER_CHANNEL_SINCE
        count, dtype = groups if grouped else size_of(m.x, 1), m.x.dtype.numpy()
        normal = op.op(kind, m.x, np.ones(count, dtype), np.zeros(count, dtype), like=m.root)
        scale, bias = (_repeated(op, m, value) if grouped else value for value in (m.scale, m.bias))
        return op.Add(op.Mul(normal, _along(op, m, scale)), _along(op, m, bias))

    return one


def _repeated(op, m, value):
    """A value for each group, once for each of its channels."""
    groups = attribute(m.root, "num_groups")
    column = op.Reshape(value, np.array([groups, 1], np.int64))
    return op.Expand(column, np.array([groups, size_of(m.x, 1) // groups], np.int64))


instance_norm, group_norm = _plain("InstanceNormalization"), _plain("GroupNormalization")


def _drawn(g, least):
    channels = g.pick([2, 4])
    behind = [g.integer(3, 5) for _ in range(g.integer(least, 2))]
    x = g.input([g.integer(1, 3), channels, *behind], static=True, finite=True)
    return x, channels


@batch_norm.example
def _(g):
    x, channels = _drawn(g, 0)
    shown = [g.input([channels], static=True, finite=True) for _ in range(3)]
    g.output(g.BatchNormalization(x, *shown, g.constant(g.positive(channels)), epsilon=g.pick([1e-5, 1e-3])))


@training.example
def _(g):
    g.since(15)
    channels = 2
    x = g.input([3, channels, *g.shape(most=2)], static=True, finite=True)
    held = [g.constant(g.positive(channels)) for _ in range(4)]
    for value in g.BatchNormalization(x, *held, training_mode=1, momentum=g.pick([0.9, 0.5]), outputs=3):
        g.output(value)


@instance_norm.example
def _(g):
    x, channels = _drawn(g, 1)
    weights = [g.input([channels], static=True, finite=True) for _ in range(2)]
    g.output(g.InstanceNormalization(x, *weights))


@group_norm.example
def _(g):
    g.since(PER_CHANNEL_SINCE)  # the onnx package refuses the form before as deprecated
    x, channels = _drawn(g, 1)
    weights = [g.input([channels], static=True, finite=True) for _ in range(2)]
    g.output(g.GroupNormalization(x, *weights, num_groups=g.pick([1, 2])), 3)


class DecomposeComputedNorms(Substitution):
    """Write normalizations with computed scales, or statistics of the batch, out."""

    name = "decompose-computed-norms"
    rules = (batch_norm, training, instance_norm, group_norm)
