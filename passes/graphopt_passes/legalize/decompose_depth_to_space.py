"""Move blocks between depth and space by Reshape and Transpose of at most five axes.

    x[N, C, H, W] ─ DepthToSpace(b, CRD) ─ y    becomes    [NC', b, b, H, W] ─ Transpose(0, 3, 1, 4, 2)
    x[1, C, H, W] ─ DepthToSpace(b, DCR) ─ y    becomes    [b, b, C', H, W] ─ Transpose(2, 3, 0, 4, 1)
    x[N, C, H, W] ─ DepthToSpace(b, DCR) ─ y    becomes    [N, b, bC', H, W] ─ Transpose(0, 2, 3, 1, 4) ─
                                                           [N, b, C'Hb, W] ─ Transpose(0, 2, 3, 1)

with a Reshape in front, between and behind (ONNX operators DepthToSpace and SpaceToDepth, which is the way back).
Fidelity: exact.
"""

from __future__ import annotations

from graphopt.ir.edit import static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.parts import reshape, transpose


@rule("depth-to-space", fidelity="exact")
def to_space(p):
    return p.DepthToSpace(p.x, blocksize=p.attribute("b"))


@rule("space-to-depth", fidelity="exact")
def to_depth(p):
    return p.SpaceToDepth(p.x, blocksize=p.attribute("b"))


for one in (to_space, to_depth):
    one.require("the sizes of its input are known")(lambda m: len(static_shape(m.x) or ()) == 4)


def _mode(m) -> str:
    return str(attribute(m.root, "mode") or "DCR")


@to_space.replace
def _(op, m):
    batch, channels, height, width = static_shape(m.x)
    b, depth = m.b, channels // m.b**2
    if _mode(m) == "CRD":
        moved = transpose(op, reshape(op, m.x, [batch * depth, b, b, height, width]), [0, 3, 1, 4, 2])
    elif batch == 1:
        moved = transpose(op, reshape(op, m.x, [b, b, depth, height, width]), [2, 3, 0, 4, 1])
    else:
        rows = transpose(op, reshape(op, m.x, [batch, b, b * depth, height, width]), [0, 2, 3, 1, 4])
        moved = transpose(op, reshape(op, rows, [batch, b, depth * height * b, width]), [0, 2, 3, 1])
    return reshape(op, moved, [batch, depth, height * b, width * b])


@to_depth.replace
def _(op, m):
    batch, channels, height, width = static_shape(m.x)
    b = m.b
    height, width = height // b, width // b
    if _mode(m) == "CRD":
        moved = transpose(op, reshape(op, m.x, [batch * channels, height, b, width, b]), [0, 2, 4, 1, 3])
    elif batch == 1:
        moved = transpose(op, reshape(op, m.x, [channels, height, b, width, b]), [2, 4, 0, 1, 3])
    else:
        columns = transpose(op, reshape(op, m.x, [batch, channels * height * b, width, b]), [0, 3, 1, 2])
        moved = transpose(op, reshape(op, columns, [batch, b * channels, height, b, width]), [0, 3, 1, 2, 4])
    return reshape(op, moved, [batch, channels * b * b, height, width])


@to_space.example
def _(g):
    b, depth = g.integer(1, 3), g.integer(1, 3)
    x = g.input([g.integer(1, 2), depth * b * b, g.integer(1, 3), g.integer(1, 3)], static=True)
    g.output(g.DepthToSpace(x, blocksize=b, mode=g.pick(["DCR", "CRD"])))


@to_depth.example
def _(g):
    b = g.integer(1, 3)
    x = g.input([g.integer(1, 2), g.integer(1, 3), b * g.integer(1, 3), b * g.integer(1, 3)], static=True)
    g.output(g.SpaceToDepth(x, blocksize=b))


class DecomposeDepthToSpace(Substitution):
    """Write DepthToSpace and SpaceToDepth as Reshape and Transpose."""

    name = "decompose-depth-to-space"
    rules = (to_space, to_depth)
