"""Recognize GroupNormalization in the Reshapes around an InstanceNormalization that exporters write for it.

    x ─ Reshape[N, G, -1] ─ InstanceNormalization(1, 0) ─ Reshape(shape of x) ─ Mul(s) ─ Add(b) ─ y
        becomes      x ─ GroupNormalization(s, b, G) ─ y

(Wu and He, arXiv:1803.08494, section 3.) From opset 21 on, where its scale is one number for each channel. Not part of
`fuse`: onnxruntime 1.31 has no kernel for it and takes 1.9 times as long. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import opset_of, shape_of
from graphopt.ir.infer import dims_of
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.axes import same_size
from graphopt_passes.fuse.channels import per_channel

SINCE = 21


@rule("group-norm", fidelity="rounding")
def group_norm(p):
    grouped = p.op("Reshape", p.x, p.value("to_groups"), as_="grouped")
    normal = p.InstanceNormalization(
        grouped, p.constant("ones", equals=1.0), p.constant("zeros", equals=0.0), epsilon=p.attribute("epsilon")
    )
    back = p.op("Reshape", normal, p.value("to_shape"), as_="back")
    return p.Add(p.Mul(back, p.constant("s")), p.constant("b"))


@group_norm.require("the opset has GroupNormalization with a scale for each channel")
def _(m):
    return opset_of(m.root.graph) >= SINCE and m.x.dtype == ir.DataType.FLOAT


@group_norm.require("the Reshapes make groups of channels and put them back")
def _(m):
    before, grouped = shape_of(m.x), shape_of(m.grouped.outputs[0])
    if before is None or grouped is None or len(before) < 3 or len(grouped) < 3 or not isinstance(before[1], int):
        return False
    groups = m.ones.size
    restored = dims_of(m.x) is not None and dims_of(m.back.outputs[0]) == dims_of(m.x)
    return restored and same_size(before[0], grouped[0]) and grouped[1] == groups and before[1] % groups == 0


@group_norm.require("scale and bias have one element, or one for each channel")
def _(m):
    return all(array is not None for array in _vectors(m))


def _vectors(m):
    shape = shape_of(m.x)
    return [per_channel(array, len(shape), shape[1]) for array in (m.s, m.b)]


@group_norm.replace
def _(op, m):
    scale, bias = (vector.astype(np.float32) for vector in _vectors(m))
    return op.GroupNormalization(m.x, scale, bias, num_groups=m.ones.size, epsilon=m.epsilon)


@group_norm.example
def _(g):
    g.since(SINCE)
    groups, spatial = g.pick([1, 2, 4]), [g.integer(2, 4) for _ in range(g.integer(1, 2))]
    shape, tail = [g.integer(1, 2), 4, *spatial], (1,) * len(spatial)
    grouped = g.Reshape(g.input(shape, static=True), g.constant(np.array([0, groups, -1])))
    ones, zeros = np.ones(groups, np.float32), np.zeros(groups, np.float32)
    normal = g.InstanceNormalization(grouped, g.constant(ones), g.constant(zeros), epsilon=g.pick([1e-5, 1e-3]))
    back = g.Reshape(normal, g.constant(np.array(shape)))
    made = g.Add(g.Mul(back, g.constant(g.normal(4, *tail))), g.constant(g.normal(4, *tail)))
    g.output(made, rank=len(shape))


class FuseGroupNorm(RewritePass):
    """Recognize GroupNormalization in Reshapes around InstanceNormalization."""

    name = "fuse-group-norm"
    rules = (group_norm,)
