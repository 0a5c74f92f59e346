"""Write NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss out, for backends that lack losses.

    x, t, w ─ NegativeLogLikelihoodLoss ─ y     becomes      y = -p·v, its sum, or its sum by that of v, with
                                                             p = Σ Where(t = c, x, 0),  v = Σ Where(t = c, w, 0)

    x, t ─ SoftmaxCrossEntropyLoss ─┬─ loss     becomes      x ─ LogSoftmax(axis 1) ─┬─ the same
                                    └─ log_prob                                      └─ log_prob

over the classes c, as the ONNX standard defines them. A class to ignore is one that no target is equal to. More than
one axis of positions become one. Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import Rule
from graphopt_passes.axes import reduce
from graphopt_passes.canonicalize.merge_slices import size_of
from graphopt_passes.canonicalize.merge_squeezes import squeeze
from graphopt_passes.scalars import is_float, number, rank_of

_NOTHING = -1
"""A class that no target is: they are from 0 on, but for the one to ignore."""
_FLAT = 3
_ONE_AXIS_SINCE = 13
"""Opset before which LogSoftmax goes over all axes from its own on."""


def _cross_entropy(outputs: int) -> Rule:
    def pattern(p):
        node = p.op(
            "SoftmaxCrossEntropyLoss", p.x, p.target, p.rest("weight"), where=lambda node: len(node.outputs) == outputs
        )
        return tuple(node[index] for index in range(outputs))

    return Rule(f"log-softmax-first-{outputs}", "rounding", pattern)


alone, both = _cross_entropy(1), _cross_entropy(2)
likelihood = Rule(
    "write-out-likelihood", "rounding", lambda p: p.NegativeLogLikelihoodLoss(p.x, p.target, p.optional(p.weight))
)


def _logarithms(op, x):
    if op.opset >= _ONE_AXIS_SINCE:
        return op.LogSoftmax(x, axis=1)
    shifted = op.Sub(x, reduce(op, "ReduceMax", x, [1]))
    return op.Sub(shifted, op.Log(reduce(op, "ReduceSum", op.Exp(shifted), [1])))


def _cross(op, m):
    x, target, back = _flat(op, m)
    logarithms = _logarithms(op, x)
    loss = _loss(op, m, logarithms, target, m.weight[0] if m.weight else None, back)
    if back is not None:
        logarithms = op.Reshape(logarithms, np.array(static_shape(m.x), np.int64))
    return (loss, logarithms)[: len(m.root.outputs)]


for one in (alone, both, likelihood):

    @one.require("it is floating point, of known rank and number of classes")
    def _(m):
        return is_float(m.x) and (rank_of(m.x) or 0) > 1 and size_of(m.x, 1) is not None


for one in (alone, both):
    one.replace(_cross)


@likelihood.replace
def _(op, m):
    x, target, back = _flat(op, m)
    return _loss(op, m, x, target, m.weight, back)


def _loss(op, m, x, target, weight, back):
    ignored, reduction = attribute(m.root, "ignore_index"), attribute(m.root, "reduction")
    rank = rank_of(m.x) if back is None else _FLAT
    classes = np.arange(size_of(m.x, 1), dtype=m.target.dtype.numpy())
    classes[classes == ignored] = _NOTHING
    spread = (-1, *[1] * (rank - 2))
    hit = op.Equal(squeeze(op, target, [1], "Unsqueeze"), classes.reshape(spread))
    zero, one = number(m.x, 0), number(m.x, 1)
    loss = op.Neg(_chosen(op, hit, x, zero))
    share = None
    if weight is not None:
        share = _chosen(op, hit, op.Reshape(weight, np.array(spread, np.int64)), zero)
        loss = op.Mul(loss, share)
    elif ignored is not None and reduction == "mean":
        share = op.Where(op.Equal(target, np.array(ignored, classes.dtype)), zero, one)
    if reduction == "none":
        return loss if back is None else op.Reshape(loss, np.array(back, np.int64))
    if reduction == "mean" and share is None:
        return reduce(op, "ReduceMean", loss, _all(rank), keepdims=False)
    total = reduce(op, "ReduceSum", loss, _all(rank), keepdims=False)
    return total if reduction == "sum" else op.Div(total, reduce(op, "ReduceSum", share, _all(rank), keepdims=False))


def _all(rank: int) -> list[int]:
    """The axes of a target whose input has this rank."""
    return list(range(rank - 1))


def _flat(op, m) -> tuple[ir.Value, ir.Value, tuple[int, ...] | None]:
    """Input and target with one axis of positions, and the shape of the target where that had more."""
    shape = static_shape(m.x)
    if shape is None or len(shape) <= _FLAT or 0 in shape:
        return m.x, m.target, None
    batch, classes, *positions = shape
    count = math.prod(positions)
    x = op.Reshape(m.x, np.array([batch, classes, count], np.int64))
    return x, op.Reshape(m.target, np.array([batch, count], np.int64)), (batch, *positions)


def _chosen(op, hit, x, zero):
    return reduce(op, "ReduceSum", op.Where(hit, x, zero), [1], keepdims=False)


def _example(one: Rule, op_type: str, outputs: int) -> None:
    @one.example
    def _(g):
        batch, classes, positions = g.integer(1, 3), g.integer(2, 5), g.shape(most=3)
        x = g.input([batch, classes, *positions], static=True, finite=True)
        targets = [g.integer(0, classes - 1) for _ in range(batch * math.prod(positions))]
        options = {"reduction": g.pick(["none", "sum", "mean"])}
        if g.flag():
            # a target is left that is not ignored: a mean of none is not a number
            options["ignore_index"] = g.pick([-1, (targets[0] + 1) % classes])
            targets[1:] = [options["ignore_index"] if g.flag() else n for n in targets[1:]]
        target = g.constant(np.array(targets, np.int64).reshape(batch, *positions))
        weight = [g.constant(g.positive(classes))] if g.flag() else []
        made = g.op(op_type, x, target, *weight, outputs=outputs, **options)
        for value in [made] if outputs == 1 else made:
            g.output(value)


_example(alone, "SoftmaxCrossEntropyLoss", 1)
_example(both, "SoftmaxCrossEntropyLoss", 2)
_example(likelihood, "NegativeLogLikelihoodLoss", 1)


class DecomposeLosses(Substitution):
    """Write NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss out."""

    name = "decompose-losses"
    rules = (alone, both, likelihood)
