"""Compute along one axis of three, or of two, what backends take with few axes only.

    x[a, b, n, c, d] ─ Softmax(axis 2) ─ y              becomes      x ─ Reshape[a·b, n, c·d] ─ Softmax(1) ─ Reshape ─ y
    x[a, b, n, m, c] ─ ReduceMax(2, 3) ─ y              becomes      x ─ Reshape[a·b, n·m, c] ─ ReduceMax(1) ─ Reshape
    x[a, b, c, d, n] ─ LayerNormalization(axis -1) ─ y  becomes      x ─ Reshape[a·b·c·d, n] ─ … ─ Reshape ─ y
    x[N, C, a, b, c] ─ InstanceNormalization ─ y        becomes      x ─ Reshape[N, C, a·b·c] ─ … ─ Reshape ─ y

ArgMax, TopK, CumSum and their like go as Softmax, other reductions of neighboring axes as ReduceMax, and
BatchNormalization as InstanceNormalization. Static shapes only. Fidelity: exact where
nothing is added up, else rounding.
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.edit import constant, static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import Rule, rule
from graphopt_passes.axes import keeps_dims, reduce, reduced_axes

_FUNCTIONS = ("Hardmax", "LogSoftmax", "LpNormalization", "Softmax")
_EXTREMES = ("ArgMax", "ArgMin")
_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
_ONE_AXIS_SINCE = 13
"""Opset before which Softmax and its like go over all axes from theirs on."""
_OF_THREE = 3


def _shape(m) -> tuple[int, ...] | None:
    shape = static_shape(m.x)
    return None if shape is None or 0 in shape else shape


def _long(m, most: int = _OF_THREE) -> bool:
    return len(_shape(m) or ()) > most


def _parted(op, m, first: int, count: int = 1):
    """The input as what is before some axes, those, and what is behind them."""
    shape = _shape(m)
    parts = (shape[:first], shape[first : first + count], shape[first + count :])
    return op.Reshape(m.x, np.array([math.prod(part) for part in parts], np.int64))


def _axis(m) -> int:
    return int(attribute(m.root, "axis")) % len(_shape(m))


def _to(op, value, shape):
    return op.Reshape(value, np.array(shape, np.int64))


def _made(name: str, kinds: tuple[str, ...], fidelity="rounding") -> Rule:
    one = rule(name, fidelity=fidelity)(lambda p: p.op(kinds, p.x, p.rest("more")))
    one.require("it has more axes than three, all of known size")(_long)
    return one


function, extreme = _made("function-of-three-axes", _FUNCTIONS), _made("extreme-of-three-axes", _EXTREMES, "exact")
running = _made("running-of-three-axes", ("CumSum", "CumProd"))
reduction = _made("reduction-of-three-axes", _REDUCTIONS)
channels = _made("channels-of-three-axes", ("BatchNormalization", "InstanceNormalization"))


@function.replace
def _(op, m):
    if op.opset < _ONE_AXIS_SINCE and m.root.op_type != "LpNormalization":
        raise op.decline("before opset 13 it goes over all axes from its own on")
    return _to(op, op.op(m.root.op_type, _parted(op, m, _axis(m)), like=m.root, axis=1), _shape(m))


@extreme.replace
def _(op, m):
    found = op.op(m.root.op_type, _parted(op, m, _axis(m)), like=m.root, axis=1, keepdims=0)
    return _to(op, found, _left(m, _axis(m), 1))


def _left(m, first, count):
    """The shape of what a reduction of some neighboring axes leaves."""
    shape = _shape(m)
    return (*shape[:first], *([1] * count if keeps_dims(m.root) else []), *shape[first + count :])


running.require("its axis is a constant")(lambda m: _running_axis(m) is not None)


def _running_axis(m) -> int | None:
    tensor = constant(m.more[0])
    return None if tensor is None else int(tensor.numpy().reshape(-1)[0]) % len(_shape(m))


@running.replace
def _(op, m):
    made = op.op(m.root.op_type, _parted(op, m, _running_axis(m)), np.array(1, np.int64), like=m.root)
    return _to(op, made, _shape(m))


@reduction.require("its axes are neighbors")
def _(m):
    axes = reduced_axes(m.root)
    return bool(axes) and axes == tuple(range(axes[0], axes[0] + len(axes)))


@reduction.replace
def _(op, m):
    axes = reduced_axes(m.root)
    x = _parted(op, m, axes[0], len(axes))
    return _to(op, reduce(op, m.root.op_type, x, [1], keepdims=False), _left(m, axes[0], len(axes)))


@channels.require("only its first output is read")
def _(m):
    return sum(bool(value.name) for value in m.root.outputs) == 1 and not attribute(m.root, "training_mode")


@channels.replace
def _(op, m):
    shape = _shape(m)
    flat = _to(op, m.x, [*shape[:2], math.prod(shape[2:])])
    return _to(op, op.op(m.root.op_type, flat, *m.more, like=m.root), shape)


@rule("norm-of-two-axes", fidelity="rounding")
def last(p):
    return p.op(("LayerNormalization", "RMSNormalization"), p.x, p.rest("more"))


@last.require("it goes over the last of three or more axes, all of known size")
def _(m):
    return _long(m, 2) and _axis(m) == len(_shape(m)) - 1


@last.replace
def _(op, m):
    shape = _shape(m)
    flat = _to(op, m.x, [math.prod(shape[:-1]), shape[-1]])
    return _to(op, op.op(m.root.op_type, flat, *m.more, like=m.root, axis=-1), shape)


@rule("top-of-three-axes", fidelity="exact")
def top(p):
    node = p.TopK(p.x, p.constant("k"))
    return node[0], node[1]


top.require("it has more axes than three, all of known size")(_long)
top.require("it takes something")(lambda m: m.k.item() > 0)


@top.replace
def _(op, m):
    axis, shape = _axis(m), list(_shape(m))
    found = op.TopK(_parted(op, m, axis), m.k.reshape(-1), outputs=2, like=m.root, axis=1)
    shape[axis] = int(m.k.item())
    return tuple(_to(op, value, shape) for value in found)


def _input(g, least=4):
    shape = [g.integer(1, 3) for _ in range(g.integer(least, 5))]
    return g.input(shape, static=True, finite=True), shape, g.integer(-len(shape), len(shape) - 1)


@function.example
def _(g):
    x, _, axis = _input(g)
    g.output(g.op(g.pick(_FUNCTIONS), x, axis=axis))


@extreme.example
def _(g):
    x, _, axis = _input(g)
    g.output(g.op(g.pick(_EXTREMES), x, axis=axis, keepdims=g.integer(0, 1)))


@running.example
def _(g):
    g.since(14)
    x, _, axis = _input(g)
    options = {"reverse": g.integer(0, 1), "exclusive": g.integer(0, 1)}
    g.output(g.CumSum(x, g.constant(np.array(axis, np.int64)), **options))


@reduction.example
def _(g):
    g.since(18)
    x, shape, axis = _input(g)
    first = axis % len(shape)
    axes = list(range(first, g.integer(first, len(shape) - 1) + 1))
    kind = g.pick(["ReduceMax", "ReduceL1", "ReduceL2"])
    g.output(g.op(kind, x, g.constant(np.array(axes, np.int64)), keepdims=g.integer(0, 1)))


@channels.example
def _(g):
    x = g.input([g.integer(1, 2), 3, *(g.integer(2, 4) for _ in range(g.integer(2, 3)))], static=True, finite=True)
    weights = [g.constant(g.normal(3)) for _ in range(2)]
    if g.flag():
        g.output(g.InstanceNormalization(x, *weights))
    else:
        g.output(g.BatchNormalization(x, *weights, g.constant(g.normal(3)), g.constant(g.positive(3))))


@last.example
def _(g):
    g.since(17)
    shape = [*g.shape(least=2), g.integer(3, 6)]
    x = g.input(shape, static=True, finite=True)
    g.output(g.LayerNormalization(x, g.constant(g.normal(shape[-1])), axis=-1))


@top.example
def _(g):
    x, shape, axis = _input(g)
    k = g.constant(np.array([g.integer(1, shape[axis])], np.int64))
    for value in g.TopK(x, k, axis=axis, outputs=2):
        g.output(value)


class FewerAxes(Substitution):
    """Compute along one axis of three what backends take with few axes only."""

    name = "fewer-axes"
    rules = (function, extreme, running, reduction, channels, last, top)
