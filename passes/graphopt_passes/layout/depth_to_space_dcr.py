"""Put a convolution's output channels in the order in which targets with channels last take them apart.

    x ─ Conv(w, b) ─ DepthToSpace(CRD) ─ y      becomes      x ─ Conv(w[p], b[p]) ─ DepthToSpace(DCR) ─ y

Of C·s² channels, CRD (PyTorch's pixel_shuffle) reads number c·s² + k where DCR (TFLite's DEPTH_TO_SPACE) reads number
k·C + c, so p[k·C + c] = c·s² + k. Fidelity: rounding (kernels may add up in another order at another channel).
"""

from __future__ import annotations

import numpy as np

from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.fuse.channels import foldable


@rule("depth-to-space-dcr", fidelity="rounding")
def depth_to_space_dcr(p):
    conv = p.op("Conv", p.x, p.constant("w"), p.optional(p.constant("b")), as_="layer")
    return p.DepthToSpace(conv, blocksize=p.attribute("size"), mode="CRD")


@depth_to_space_dcr.require("it is one group of channels, and nothing else reads a large weight")
def _(m):
    group = m.layer.attributes.get("group")
    return foldable(m) and (group is None or group.as_int() == 1)


@depth_to_space_dcr.replace
def _(op, m):
    order = np.arange(m.w.shape[0]).reshape(-1, m.size**2).T.reshape(-1)
    bias = [] if m.b is None else [m.b[order]]
    return op.DepthToSpace(op.op("Conv", m.x, m.w[order], *bias, like=m.layer), blocksize=m.size, mode="DCR")


@depth_to_space_dcr.example
def _(g):
    g.since(11)
    size, channels, inner = g.pick([2, 3]), g.pick([1, 2, 5]), g.pick([1, 3])
    x = g.input([g.pick([1, 2]), inner, 4, 5])
    count = channels * size**2
    bias = [g.constant(g.normal(count))] if g.flag() else []
    conv = g.Conv(x, g.constant(g.normal(count, inner, 3, 3)), *bias, pads=[1, 1, 1, 1])
    g.output(g.DepthToSpace(conv, blocksize=size, mode="CRD"))


class DepthToSpaceDcr(RewritePass):
    """Put a convolution's output channels in the order in which targets with channels last take them apart."""

    name = "depth-to-space-dcr"
    rules = (depth_to_space_dcr,)
