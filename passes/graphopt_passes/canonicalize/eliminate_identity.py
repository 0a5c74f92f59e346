"""Take away nodes that pass on what they were given.

    x ─ Identity ─ y            x ─ Cast(to its own type) ─ y        x ─ Reshape(to its own shape) ─ y
    x ─ Dropout(inference) ─ y  x ─ Transpose(0, 1, 2, …) ─ y        x ─ Slice(everything) ─ y
    x ─ Pad(nothing) ─ y        x ─ Expand(to its own shape) ─ y     x ─ Concat(alone) ─ y        …

each becomes x ─ y. Shapes are compared with their symbols, so a Reshape to [N, 8] of a tensor that is [N, 8] goes as
well. Fidelity: exact.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import constant
from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute, has_input, integers
from graphopt.pipeline import RewritePass
from graphopt.rewrite import Match, rule

INT64_MAX = 2**63 - 1
_LARGE = 2**31 - 1


def same_shape(m: Match) -> bool:
    """The first input of the root has the shape of its output, symbol by symbol."""
    before, after = dims_of(m.root.inputs[0]), dims_of(m.root.outputs[0])
    return before is not None and before == after


@rule("identity", fidelity="exact")
def identity(p):
    return p.Identity(p.x)


@identity.example
def _(g):
    g.output(g.Relu(g.Identity(g.Neg(g.input(g.shape())))))


@rule("inference-dropout", fidelity="exact")
def dropout(p):
    return p.op("Dropout", p.x, p.rest("more"))


@dropout.require("it is not in training mode")
def _(m):
    if attribute(m.root, "is_test") == 0:
        return "before opset 7 a Dropout without is_test is in training mode"
    if len(m.more) < 2 or m.more[1] is None:
        return True
    mode = constant(m.more[1])
    return mode is not None and not mode.numpy().any()


@dropout.example
def _(g):
    x = g.Neg(g.input(g.shape()))
    g.output(g.Dropout(x, g.constant(0.5), g.constant(False)) if g.flag() else g.Dropout(x))


@rule("cast-to-same", fidelity="exact")
def cast(p):
    return p.Cast(p.x, to=p.attribute("to"))


@cast.require("the input has the type already")
def _(m):
    return m.x.dtype is not None and int(m.x.dtype) == m.to


@cast.example
def _(g):
    g.output(g.Cast(g.Neg(g.input(g.shape())), to=g.FLOAT))


@rule("transpose-by-nothing", fidelity="exact")
def transpose(p):
    return p.Transpose(p.x, perm=p.attribute(where=lambda perm: perm is not None and list(perm) == sorted(perm)))


@transpose.example
def _(g):
    shape = g.shape(least=1)
    g.output(g.Transpose(g.Neg(g.input(shape)), perm=list(range(len(shape)))))


@rule("reshape-to-same", fidelity="exact")
def reshape(p):
    return p.op(("Reshape", "Flatten", "Expand", "Squeeze", "Unsqueeze"), p.x, p.rest("more"))


reshape.require("input and output have the same shape")(same_shape)


@reshape.example
def _(g):
    shape = g.shape()
    x = g.Neg(g.input(shape, static=True))
    target = [0 if g.flag() and n else n for n in shape]
    g.output(g.Reshape(x, g.constant(target)) if g.flag() else g.Expand(x, g.constant(shape)))


@rule("slice-of-everything", fidelity="exact")
def slice_(p):
    return p.op("Slice", p.x, p.rest("more"))


@slice_.require("every axis is taken from its start to its end, step by step")
def _(m):
    steps = integers(m.root, "steps", 4) if has_input(m.root, 4) else [1]
    if steps is None or any(step != 1 for step in steps):
        return False
    if same_shape(m):
        return True
    starts, ends = integers(m.root, "starts", 1), integers(m.root, "ends", 2)
    if starts is None or ends is None:
        return False
    return all(start == 0 for start in starts) and all(end >= _LARGE for end in ends)


@slice_.example
def _(g):
    x = g.Neg(g.input(g.shape(least=1)))
    g.output(g.Slice(x, g.constant([0]), g.constant([INT64_MAX]), g.constant([0])))


@rule("pad-with-nothing", fidelity="exact")
def pad(p):
    return p.op("Pad", p.x, p.rest("more"))


@pad.require("all pads are zero")
def _(m):
    pads = integers(m.root, "pads", 1)
    return pads is not None and not any(pads)


@pad.example
def _(g):
    shape = g.shape(least=1)
    g.output(g.Pad(g.Neg(g.input(shape)), g.constant([0] * 2 * len(shape))))


@rule("tile-once", fidelity="exact")
def tile(p):
    return p.Tile(p.x, p.constant("repeats"))


@tile.require("every axis is repeated once")
def _(m):
    return bool((m.repeats == 1).all())


@tile.example
def _(g):
    shape = g.shape(least=1)
    g.output(g.Tile(g.Neg(g.input(shape)), g.constant([1] * len(shape))))


@rule("concat-of-one", fidelity="exact")
def concat(p):
    return p.op(("Concat", "Sum", "Max", "Min", "Mean"), p.x)


@concat.example
def _(g):
    x = g.Neg(g.input(g.shape(least=1)))
    g.output(g.Concat(x, axis=0) if g.flag() else g.op(g.pick(["Sum", "Max", "Min", "Mean"]), x))


@rule("split-into-one", fidelity="exact")
def split(p):
    return p.op("Split", p.x, p.rest("more"), where=lambda node: len(node.outputs) == 1)


@split.example
def _(g):
    shape = g.shape(least=1)
    g.output(g.Split(g.Neg(g.input(shape)), g.constant([shape[0]]), axis=0))


@rule("resize-by-one", fidelity="exact")
def resize(p):
    return p.op(("Resize", "Upsample"), p.x, p.rest("more"))


@resize.require("every axis keeps its size and its grid")
def _(m):
    # With these the result is the input whatever the mode; a crop region or half of a grid would move it.
    if attribute(m.root, "coordinate_transformation_mode") == "tf_crop_and_resize":
        return False
    position = 1 if len(m.root.inputs) == 2 else 2
    held = constant(m.root.inputs[position]) if has_input(m.root, position) else None
    scales = held.numpy() if held is not None else np.array(attribute(m.root, "scales") or [])
    if scales.size:
        return bool((scales == 1).all())
    return has_input(m.root, 3) and same_shape(m)


@resize.example
def _(g):
    shape = [1, g.integer(1, 3), g.integer(1, 5), g.integer(1, 5)]
    mode = g.pick(["nearest", "linear", "cubic"])
    g.output(g.Resize(g.Neg(g.input(shape)), None, g.constant([1.0] * 4), mode=mode))


RULES = (identity, dropout, cast, transpose, reshape, slice_, pad, tile, concat, split, resize)
for _rule in RULES:
    _rule.replace(lambda op, m: m.x)


class EliminateIdentity(RewritePass):
    """Take away nodes that pass on what they were given: Identity, Dropout, Casts, Reshapes, Slices, … to the same."""

    name = "eliminate-identity"
    rules = RULES
