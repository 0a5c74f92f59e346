"""Make Gemms of the projections of one value that end in Reshapes, as the heads of attention do.

    x[B, S, K] ─┬─ MatMul(w) ─ Add(b) ─ Reshape ─ q            x ─ Reshape[B·S, K] ─┬─ Gemm(w, b) ─ Reshape ─ q
                ├─ MatMul(v) ─ Add(c) ─ Reshape ─ k   becomes                        ├─ Gemm(v, c) ─ Reshape ─ k
                └─ …                                                                └─ …

Each projection saves its Add and the first Reshape is shared (by common-subexpression elimination), so it takes two of
them, or a value that comes out of a Reshape itself. The last shape must not be read off the product: its zeros would
copy other dimensions. onnxruntime runs both forms equally fast. Fidelity: rounding.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
import onnx_ir as ir

from graphopt.ir.content import items_of
from graphopt.ir.edit import constant, readers, shape_of
from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute
from graphopt.ir.symbolic import product
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.canonicalize.merge_reshapes import target
from graphopt_passes.fuse.gemm import takes_type

_ZERO_ALLOWED = 14
"""Opset from which a Reshape can be told that 0 means 0."""
_MOST = 64
"""Readers of a value that are looked at."""


@rule("projection", fidelity="rounding")
def projection(p):
    product_ = p.MatMul(p.x, p.constant("w"))
    return p.Reshape(p.Add(product_, p.constant("b")), p.shape)


@projection.require("it is a matrix of weights with a vector of biases")
def _(m):
    w, b, x = m.value("w"), m.value("b"), dims_of(m.x)
    weight, bias = constant(w).shape, constant(b).shape
    return takes_type(m, m.x) and x is not None and len(x) > 2 and len(weight) == 2 and tuple(bias) == (weight[1],)


@projection.require("nodes fall: another such projection of the same value, or a Reshape before it")
def _(m):
    before = m.x.producer()
    found = list(islice(readers(m.x), _MOST))
    if before is not None and before.op_type == "Reshape" and len(found) == 1 and not m.x.is_graph_output():
        return True
    return sum(map(_projects, found)) + sum(map(_flattens, found)) > 1


def _projects(node: ir.Node) -> bool:
    """Whether a MatMul is the first of the three nodes of a projection."""
    if node.op_type != "MatMul" or node.domain:
        return False
    weight, add = constant(node.inputs[1]), _only_reader(node.outputs[0], "Add")
    if weight is None or len(weight.shape) != 2 or add is None or _only_reader(add.outputs[0], "Reshape") is None:
        return False
    biases = [constant(v) for v in add.inputs]
    return any(b is not None and tuple(b.shape) == (weight.shape[1],) for b in biases)


def _only_reader(value: ir.Value, op_type: str) -> ir.Node | None:
    found = list(islice(readers(value), 2))
    alone = len(found) == 1 and not value.is_graph_output() and found[0].op_type == op_type
    return found[0] if alone else None


def _flattens(node: ir.Node) -> bool:
    """Whether a Reshape makes the matrix that other projections of the value read already."""
    shape, source = constant(node.inputs[1]) if node.op_type == "Reshape" else None, shape_of(node.inputs[0])
    if shape is None or shape.size != 2 or source is None:
        return False
    rows, columns = (int(n) for n in shape.numpy())
    return columns == source[-1] and rows != 0


def _last_shape(op, m):
    """The shape input of the last Reshape and whether zeros in it are meant."""
    given = constant(m.shape)
    if given is not None and not (given.numpy() == 0).any():
        return m.shape, None
    if attribute(m.root, "allowzero"):
        return m.shape, 1
    x, after = dims_of(m.x), dims_of(m.root.outputs[0])
    rows, columns = product(x[:-1]), constant(m.value("w")).shape[1]
    if after is not None and rows is not None:
        entries = target((rows, type(rows).of(int(columns))), after)
        if entries is not None:
            return np.array(entries, np.int64), None
    entries = items_of(m.shape)
    if entries is None or op.opset < _ZERO_ALLOWED or any(d.number in (0, -1) for d in entries):
        raise op.decline("the last shape copies dimensions of the product")
    return m.shape, 1


@projection.replace
def _(op, m):
    shape, allowzero = _last_shape(op, m)
    matrix = op.Reshape(m.x, np.array([-1, constant(m.value("w")).shape[0]], np.int64))
    return op.Reshape(op.Gemm(matrix, m.value("w"), m.value("b")), shape, allowzero=allowzero)


@projection.example
def _(g):
    batch, length, heads, size = g.integer(1, 2), g.integer(1, 4), g.integer(1, 3), g.integer(1, 4)
    width = heads * size
    x = g.input([batch, length, width], static=True)
    for _ in range(g.integer(2, 3)):
        made = g.Add(g.MatMul(x, g.constant(g.normal(width, width))), g.constant(g.normal(width)))
        lead = g.pick([[batch, length], [0, 0], [-1, length], [0, -1]])
        options = {"allowzero": 1} if g.opset >= _ZERO_ALLOWED and 0 not in lead else {}
        g.output(g.Reshape(made, g.constant(np.array([*lead, heads, size])), **options))


class FuseLinear(RewritePass):
    """Make Gemms of several projections of one value that end in Reshapes."""

    name = "fuse-linear"
    rules = (projection,)
