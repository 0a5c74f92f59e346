"""Take a Transpose before a flattening into the weight behind it.

    x[N, C, H] ─ Transpose(0, 2, 1) ─ Reshape[N, H·C] ─ Gemm(w) ─ y      becomes      x ─ Reshape[N, C·H] ─ Gemm(w') ─ y

where w' has the rows of w in the other order; also for Flatten and MatMul. It is what a model with channels last leaves
behind at the end of its convolutions. Fidelity: rounding (the sums are added up in another order).
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.edit import shape_of
from graphopt.ir.schema import attribute
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.axes import same_size
from graphopt_passes.fuse.channels import foldable
from graphopt_passes.scalars import rank_of


@rule("transpose-flatten-gemm", fidelity="rounding")
def transpose_flatten_gemm(p):
    turned = p.Transpose(p.x, perm=p.attribute("perm"))
    flat = p.op(("Reshape", "Flatten"), turned, p.rest("shape"), as_="flat")
    return p.op(("Gemm", "MatMul"), flat, p.constant("w"), p.rest("c"), as_="layer")


def _sizes(m) -> list[int] | None:
    """Sizes of the axes that are flattened together, as they come out of the Transpose; None where they are not all."""
    perm, before, flat = m.perm, shape_of(m.x), shape_of(m.flat.outputs[0])
    if (
        before is None
        or flat is None
        or perm is None
        or perm[0] != 0
        or len(flat) != 2
        or not same_size(flat[0], before[0])
    ):
        return None
    sizes = [before[axis] for axis in perm[1:]]
    known = all(isinstance(size, int) for size in sizes)
    return [int(s) for s in sizes] if known and flat[1] == math.prod(sizes) > 0 else None


@transpose_flatten_gemm.require("the Transpose leaves the first axis, and all others, of known size, are flattened")
def _(m):
    return foldable(m) and _sizes(m) is not None and not attribute(m.layer, "transA") and rank_of(m.value("w")) == 2


@transpose_flatten_gemm.replace
def _(op, m):
    sizes, axis = _sizes(m), int(attribute(m.layer, "transB") or 0)
    order = np.argsort(np.asarray(m.perm[1:]) - 1)
    w = np.moveaxis(m.w, axis, 0)
    columns = w.shape[1]
    w = w.reshape(*sizes, columns).transpose(*order, len(sizes)).reshape(-1, columns)
    flat = op.Flatten(m.x) if m.flat.op_type == "Flatten" else op.Reshape(m.x, np.array([-1, w.shape[0]], np.int64))
    return op.op(m.layer.op_type, flat, np.ascontiguousarray(np.moveaxis(w, 0, axis)), *m.c, like=m.layer)


@transpose_flatten_gemm.example
def _(g):
    shape = [g.integer(1, 3), *(g.integer(1, 3) for _ in range(g.integer(2, 3)))]
    perm = [0, *(axis + 1 for axis in g.permutation(len(shape) - 1))]
    turned = g.Transpose(g.input(shape, static=True), perm=perm)
    width = math.prod(shape[1:])
    flat = g.Flatten(turned) if g.flag() else g.Reshape(turned, g.constant(np.array(g.pick([[0, -1], [-1, width]]))))
    if g.flag():
        g.output(g.MatMul(flat, g.constant(g.normal(width, 3))))
    else:
        transposed = g.flag()
        weight = g.normal(3, width) if transposed else g.normal(width, 3)
        g.output(g.Gemm(flat, g.constant(weight), g.constant(g.normal(3)), transB=int(transposed)))


class FuseFlatten(RewritePass):
    """Take a Transpose before a flattening into the weight behind it."""

    name = "fuse-flatten"
    rules = (transpose_flatten_gemm,)
