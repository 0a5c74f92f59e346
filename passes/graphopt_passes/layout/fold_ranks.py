"""Compute with fewer axes what has six or more, for backends that take five: merge neighbors that are treated alike.

    x[2,2,4,2,4,6] ─ Transpose(0,1,3,2,4,5)      becomes      x ─ Reshape[4,4,2,24] ─ Transpose(0,2,1,3) ─ Reshape

Elementwise operators merge axes along which every operand is broadcast or none is; Transpose those that stay side by
side; reductions those that go or stay together; Softmax, Concat and Gather all before and all after their axis; MatMul
its batches. Axes of size 1 join any neighbor. A Reshape behind a Reshape is one, so a chain of such operators keeps its
few axes from end to end. Static shapes only. Fidelity: exact but for MatMul and reductions, which a runtime may add up
in another order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graphopt.ir.edit import is_read, opset, static_shape
from graphopt.ir.infer import infer_shapes
from graphopt.ir.schema import attribute
from graphopt.pipeline import Context, PassResult, RewritePass
from graphopt.rewrite import rule
from graphopt_passes.axes import keeps_dims, reduce, reduced_axes

_MOST = 5
"""Axes that every backend takes."""
_ELEMENTWISE = (
    "Abs", "Add", "And", "Cast", "Ceil", "Celu", "Clip", "Cos", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu",
    "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Less", "LessOrEqual", "Log",
    "Max", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu",
    "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tanh", "ThresholdedRelu", "Where",
    "Xor",
)  # fmt: skip
_REDUCTIONS = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceL1", "ReduceL2")
_VIEWS = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
_SOFTMAX_OF_ONE_AXIS = 13


def _shape(op, value) -> tuple[int, ...]:
    shape = static_shape(value)
    if shape is None or 0 in shape:
        raise op.decline("its shapes must be static, and it must have elements")
    return shape


def _many(m, *values) -> bool:
    return any(len(static_shape(value) or ()) > _MOST for value in (*values, m.root.outputs[0]))


def _groups(labels: Sequence[object], sizes: Sequence[int]) -> list[list[int]]:
    """Neighboring axes with the same label; an axis of size 1 joins the one before it, or behind it at the start."""
    groups: list[list[int]] = []
    last: object = None
    pending: list[int] = []
    for axis, (label, size) in enumerate(zip(labels, sizes, strict=True)):
        if size == 1:
            (groups[-1] if groups else pending).append(axis)
        elif groups and label == last:
            groups[-1].append(axis)
        else:
            groups.append([*pending, axis])
            pending, last = [], label
    return groups or [pending]


def _merged(op, shape: Sequence[int], groups: list[list[int]]) -> list[int]:
    if len(groups) > _MOST:
        raise op.decline(f"{len(groups)} of its axes are treated differently, which is more than {_MOST}")
    return [math.prod(shape[axis] for axis in group) for group in groups]


def _view(op, value, shape):
    return value if static_shape(value) == tuple(shape) else op.Reshape(value, np.array(shape, np.int64))


@rule("fold-elementwise", fidelity="exact")
def elementwise(p):
    return p.op(_ELEMENTWISE, p.rest("inputs"))


@elementwise.replace
def _(op, m):
    shape = _shape(op, m.root.outputs[0])
    operands = [_shape(op, value) if value is not None else () for value in m.inputs]
    wide = [(1,) * (len(shape) - len(dims)) + dims for dims in operands]
    labels = [tuple(dims[axis] == size for dims in wide) for axis, size in enumerate(shape)]
    groups = _groups(labels, shape)
    parts = [
        value if math.prod(dims) == 1 and len(own) <= _MOST else _view(op, value, _merged(op, dims, groups))
        for value, own, dims in zip(m.inputs, operands, wide, strict=True)
    ]
    return _view(op, op.op(m.root.op_type, *parts, like=m.root), shape)


@rule("fold-transpose", fidelity="exact")
def transpose(p):
    return p.Transpose(p.x)


@transpose.replace
def _(op, m):
    shape = _shape(op, m.x)
    order = [axis for axis in attribute(m.root, "perm") or reversed(range(len(shape))) if shape[axis] > 1]
    kept = sorted(order)
    rank_of = {axis: place for place, axis in enumerate(kept)}
    runs: list[list[int]] = []
    for axis in order:
        if runs and rank_of[axis] == rank_of[runs[-1][-1]] + 1:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    inward = sorted(runs)
    sizes = _merged(op, shape, inward)
    moved = op.Transpose(_view(op, m.x, sizes), perm=[inward.index(run) for run in runs])
    return _view(op, moved, _shape(op, m.root.outputs[0]))


@rule("fold-reduction", fidelity="rounding")
def reduction(p):
    return p.op(_REDUCTIONS, p.x, p.rest("axes"))


@reduction.require("its axes are known")
def _(m):
    return bool(reduced_axes(m.root))


@reduction.replace
def _(op, m):
    shape, axes = _shape(op, m.x), reduced_axes(m.root)
    groups = _groups([axis in axes for axis in range(len(shape))], shape)
    goes = [at for at, group in enumerate(groups) if any(axis in axes and shape[axis] > 1 for axis in group)]
    if not goes:
        raise op.decline("it goes over axes of size 1")
    small = reduce(op, m.root.op_type, _view(op, m.x, _merged(op, shape, groups)), goes, keepdims=keeps_dims(m.root))
    return _view(op, small, _shape(op, m.root.outputs[0]))


@rule("fold-around-axis", fidelity="rounding")
def around(p):
    return p.op(("Softmax", "LogSoftmax", "Concat"), p.rest("inputs"))


@around.require("it goes along one axis")
def _(m):
    return m.root.op_type == "Concat" or opset(m.root) >= _SOFTMAX_OF_ONE_AXIS


@around.replace
def _(op, m):
    shapes = [_shape(op, value) for value in m.inputs]
    axis = attribute(m.root, "axis") % len(shapes[0])
    parts = [
        _view(op, value, [math.prod(dims[:axis]), dims[axis], math.prod(dims[axis + 1 :])])
        for value, dims in zip(m.inputs, shapes, strict=True)
    ]
    return _view(op, op.op(m.root.op_type, *parts, like=m.root, axis=1), _shape(op, m.root.outputs[0]))


@rule("fold-norm", fidelity="rounding")
def norm(p):
    return p.op(("LayerNormalization", "RMSNormalization"), p.x, p.rest("parameters"))


@norm.require("nobody reads its mean or deviation")
def _(m):
    return not any(is_read(value) or value.is_graph_output() for value in m.root.outputs[1:])


@norm.replace
def _(op, m):
    shape = _shape(op, m.x)
    axis = attribute(m.root, "axis") % len(shape)
    inner = shape[axis:]
    if axis < 2:
        raise op.decline("it normalizes over all axes but one at most")
    if any(len(_shape(op, value)) > len(inner) for value in m.parameters if value is not None):
        raise op.decline("its scale has axes that it does not normalize over")
    small = _view(op, m.x, [math.prod(shape[:axis]), *inner])
    return _view(op, op.op(m.root.op_type, small, *m.parameters, like=m.root, axis=1), _shape(op, m.root.outputs[0]))


@norm.example
def _(g):
    g.since(17)
    shape, axis = _deep(g), g.pick([-1, -2, 3])
    inner = shape[axis:]
    parameters = [g.constant(g.normal(*inner)) for _ in range(g.pick([1, 2]))]
    g.output(g.LayerNormalization(g.input(shape, static=True, finite=True), *parameters, axis=axis))


@rule("fold-gather", fidelity="exact")
def gather(p):
    return p.Gather(p.x, p.index)


@gather.replace
def _(op, m):
    dims = _shape(op, m.x)
    axis = attribute(m.root, "axis") % len(dims)
    index = _view(op, m.index, [math.prod(_shape(op, m.index))])
    picked = op.Gather(_view(op, m.x, [math.prod(dims[:axis]), dims[axis], math.prod(dims[axis + 1 :])]), index, axis=1)
    return _view(op, picked, _shape(op, m.root.outputs[0]))


@rule("fold-batches", fidelity="rounding")
def matmul(p):
    return p.MatMul(p.a, p.b)


@matmul.replace
def _(op, m):
    a, b = _shape(op, m.a), _shape(op, m.b)
    if len(a) < 2 or len(b) < 2 or (a[:-2] != b[:-2] and len(b) > 2):
        raise op.decline("its operands have different batches")
    lead = [math.prod(a[:-2])]
    right = m.b if len(b) == 2 else _view(op, m.b, [*lead, *b[-2:]])
    return _view(op, op.MatMul(_view(op, m.a, [*lead, *a[-2:]]), right), _shape(op, m.root.outputs[0]))


@rule("fold-view", fidelity="exact")
def view(p):
    return p.op(_VIEWS, p.op(_VIEWS, p.x, p.rest("inner")), p.rest("outer"))


@view.require("the tensor between them has six axes or more")
def _(m):
    return len(static_shape(m.root.inputs[0]) or ()) > _MOST


@view.replace
def _(op, m):
    _shape(op, m.x)
    return _view(op, m.x, _shape(op, m.root.outputs[0]))


for _one in (elementwise, transpose, reduction, around, norm, gather, matmul):
    _one.require("a tensor of it has six axes or more")(
        lambda m: _many(m, *(v for v in m.root.inputs if v is not None))
    )


def _deep(g):
    """A shape of six or seven axes."""
    return [g.integer(1, 3) for _ in range(g.integer(6, 7))]


def _two_parts(g):
    """A shape of six axes in two runs."""
    return [g.integer(1, 3) for _ in range(6)], g.integer(1, 5)


@elementwise.example
def _(g):
    shape, cut = _two_parts(g)
    x = g.input(shape, static=True)
    if g.flag():
        g.output(g.op(g.pick(["Sigmoid", "Neg"]), x))
    else:
        part = g.pick([[1] * cut + shape[cut:], shape[:cut] + [1] * (6 - cut), shape[cut:], []])
        g.output(g.op(g.pick(["Add", "Mul"]), x, g.input(part, static=True)))


@transpose.example
def _(g):
    shape, cut = _two_parts(g)
    order = [*range(cut, 6), *range(cut)] if g.flag() else [0, 1, 3, 2, 4, 5]
    g.output(g.Transpose(g.input(shape, static=True), perm=order))


@reduction.example
def _(g):
    axes = g.pick([[0, 1], [2, 3], [4, 5]])
    x = g.input([g.integer(2, 3) for _ in range(6)], static=True, finite=True)
    more = [g.constant(np.array(axes))] if g.opset >= 18 else []
    keep = {"keepdims": g.pick([0, 1])} | ({} if more else {"axes": axes})
    g.output(g.op("ReduceMax", x, *more, **keep))


@around.example
def _(g):
    shape = _deep(g)
    x = g.input(shape, static=True, finite=True)
    axis = g.integer(0, len(shape) - 1)
    g.output(g.Softmax(x, axis=axis) if g.flag() else g.Concat(x, x, axis=axis))


@gather.example
def _(g):
    shape = _deep(g)
    g.output(g.Gather(g.input(shape, static=True), g.indices(0, 0, g.shape(most=2)), axis=g.integer(0, 5)))


@matmul.example
def _(g):
    lead = [g.integer(1, 3) for _ in range(4)]
    b = g.input([*g.pick([lead, []]), 3, 2], static=True, finite=True)
    g.output(g.MatMul(g.input([*lead, 2, 3], static=True, finite=True), b))


@view.example
def _(g):
    shape = _deep(g)
    inner = g.Reshape(g.input(shape, static=True), g.constant(np.array([*shape, 1])))
    g.output(g.Flatten(inner, axis=g.integer(0, 6)))


class FoldRanks(RewritePass):
    """Compute with up to five axes what has six or more."""

    name = "fold-ranks"
    rules = (elementwise, transpose, reduction, around, norm, gather, matmul, view)

    def run(self, model, context: Context) -> PassResult:
        """See `RewritePass.run`; shapes are proven first."""
        infer_shapes(model)
        return super().run(model, context)
