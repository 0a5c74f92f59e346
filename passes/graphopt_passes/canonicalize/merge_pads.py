"""Make one Pad out of two in a row.

    x ─ Pad(1, 1) ─ Pad(0, 2) ─ y      becomes      x ─ Pad(1, 3) ─ y

Holds where both add a constant, and the same one, or both repeat the edge, and none takes away. Fidelity: exact.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, shape_of
from graphopt.ir.schema import attribute, has_input, integers
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule

SINCE_INPUTS = 11
"""Opset from which pads and value of a Pad are inputs."""


def pads_of(node: ir.Node, rank: int) -> np.ndarray | None:
    """What a Pad adds, a row of begins and a row of ends; None where that is computed."""
    pads = integers(node, "pads", 1)
    axes = integers(node, "axes", 3) if has_input(node, 3) else list(range(rank))
    if pads is None or axes is None or len(pads) != 2 * len(axes):
        return None
    wide = np.zeros((2, rank), np.int64)
    wide[:, [axis % rank for axis in axes]] = np.reshape(pads, (2, -1))
    return wide


def value_of(node: ir.Node) -> bytes | None:
    """The bits of the number that a Pad adds, None where it is computed; zero has no bits set."""
    if "value" in node.attributes:
        return np.float32(attribute(node, "value")).tobytes().rstrip(b"\0")
    if not has_input(node, 2):
        return b""
    tensor = constant(node.inputs[2])
    return None if tensor is None or tensor.dtype == ir.DataType.STRING else tensor.tobytes().rstrip(b"\0")


@rule("pad-pad", fidelity="exact")
def merge(p):
    return p.op("Pad", p.op("Pad", p.x, p.rest("a"), as_="first"), p.rest("b"))


@merge.require("both add the same, and only add")
def _(m):
    mode = attribute(m.root, "mode")
    if mode != attribute(m.first, "mode") or mode not in ("constant", "edge"):
        return "the modes differ, or the second mirrors what the first added"
    values = value_of(m.first), value_of(m.root)
    return mode == "edge" or (values[0] is not None and values[0] == values[1])


@merge.replace
def _(op, m):
    rank = len(shape_of(m.x) or ())
    first, second = pads_of(m.first, rank) if rank else None, pads_of(m.root, rank) if rank else None
    if first is None or second is None or min(first.min(), second.min()) < 0:
        raise op.decline("the pads are computed, or they take away")
    pads = (first + second).reshape(-1)
    if op.opset < SINCE_INPUTS:
        return op.Pad(m.x, pads=pads.tolist(), like=m.root)
    more = m.root.inputs[2:3] if has_input(m.root, 2) else ()
    return op.Pad(m.x, pads, *more, like=m.root)


@merge.example
def _(g):
    shape = g.shape(least=1, most=3)
    mode = g.pick(["constant", "edge"])
    number = [g.constant(g.pick([0.0, 1.5]))] if mode == "constant" and g.flag() else []
    x = g.Neg(g.input(shape))
    for _ in range(2):
        x = g.Pad(x, g.constant([g.integer(0, 2) for _ in range(2 * len(shape))]), *number, mode=mode)
    g.output(x)


class MergePads(RewritePass):
    """Make one Pad out of two in a row."""

    name = "merge-pads"
    rules = (merge,)
