"""Make one Clip out of Clips and Relus in a row, and one Max or Min out of two with constants.

    x ─ Clip(0, 6) ─ Clip(1, 9) ─ y          becomes      x ─ Clip(1, 6) ─ y
    x ─ Clip(-3, 6) ─ Relu ─ y               becomes      x ─ Clip(0, 6) ─ y
    x ─ Max(2) ─ Max(5) ─ y                  becomes      x ─ Max(5) ─ y

A Clip is Min(max, Max(x, min)), also where its bounds cross. Fidelity: exact.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant
from graphopt.ir.schema import attribute
from graphopt.pipeline import RewritePass
from graphopt.rewrite import Match, rule

INPUT_BOUNDS = 11
"""Opset from which the bounds of Clip are inputs."""
Bounds = tuple[float | int, float | int]
_ANY: Bounds = (-math.inf, math.inf)


def bounds_of(node: ir.Node) -> Bounds | None:
    """Lower and upper bound of a Clip of any opset or of a Relu, infinite where there is none; None where computed."""
    if node.op_type == "Relu":
        return 0, math.inf
    low, high = attribute(node, "min"), attribute(node, "max")
    found = [-math.inf if low is None else low, math.inf if high is None else high]
    for index, value in enumerate(node.inputs[1:3]):
        if value is not None:
            tensor = constant(value)
            if tensor is None or tensor.size != 1:
                return None
            found[index] = tensor.numpy().reshape(()).item()
    return None if any(math.isnan(n) for n in found) else (found[0], found[1])


def after(first: Bounds, second: Bounds) -> Bounds:
    """The bounds of the one Clip that does what two do: each bound of the first, clipped by the second."""
    low, high = first
    low = min(low, high)  # of bounds that cross, only the upper one counts
    return min(second[1], max(second[0], low)), min(second[1], max(second[0], high))


def clip(op, x, bounds: Bounds):
    """A Clip with these bounds, in the form of the opset; `x` itself where there are none."""
    if bounds[0] == math.inf or bounds[1] == -math.inf:
        raise op.decline("a bound leaves nothing but infinity")
    if op.opset < INPUT_BOUNDS:
        limit = float(np.finfo(np.float32).max)
        return op.Clip(x, min=max(float(bounds[0]), -limit), max=min(float(bounds[1]), limit))
    if bounds == _ANY:
        return x
    dtype = x.dtype.numpy()
    arrays = [None if math.isinf(bound) else np.array(bound, dtype) for bound in bounds]
    return op.Clip(x, *arrays)


def _bounds(g, kind, *choices):
    """Inputs of a Clip for an example."""
    return [g.constant(kind(g.pick(numbers))) for numbers in choices]


@rule("clip-clip", fidelity="exact")
def clip_clip(p):
    return p.op("Clip", p.op("Clip", p.x, p.rest("a"), as_="first", shared=True), p.rest("b"))


@clip_clip.require("all bounds are constants, and no upper one is zero")
def _(m):
    first, second = bounds_of(m.first), bounds_of(m.root)
    if m.x.dtype is None or first is None or second is None:
        return False
    # The standard does not say which zero a Clip makes of one that meets its bound.
    return 0 not in (first[1], second[1], after(first, second)[1])


@clip_clip.replace
def _(op, m):
    return clip(op, m.x, after(bounds_of(m.first), bounds_of(m.root)))


@clip_clip.example
def _(g):
    kind, dtype = g.pick([(np.float32, g.FLOAT), (np.int32, g.INT32)])
    x = g.input(g.shape(), dtype)
    first, second = _bounds(g, kind, (-3, 0, 1, 5), (-1, 2, 6)), _bounds(g, kind, (-3, 1, 5), (2, 6))
    g.output(g.Clip(g.Clip(x, *first[: g.integer(1, 2)]), *([None, second[1]] if g.flag() else second)))


def _some_positive(m: Match) -> bool:
    first, second = bounds_of(m.first), bounds_of(m.root)
    # The standard does not say which zero a Clip at zero or a Relu makes, and runtimes differ between the two.
    return m.x.dtype is not None and first is not None and second is not None and after(first, second)[1] > 0


@rule("clip-relu", fidelity="exact")
def clip_relu(p):
    return p.Relu(p.op("Clip", p.x, p.rest("a"), as_="first"))


clip_relu.require("the bounds are constants, and more than zero is left")(_some_positive)


@clip_relu.replace
def _(op, m):
    return clip(op, m.x, after(bounds_of(m.first), bounds_of(m.root)))


@clip_relu.example
def _(g):
    low, high = _bounds(g, np.float32, (-3, 0, 1, 9), (2, 6))
    g.output(g.Relu(g.Clip(g.input(g.shape()), low, high if g.flag() else None)))


@rule("relu-clip", fidelity="exact")
def relu_clip(p):
    return p.op("Clip", p.Relu(p.x, as_="first"), p.rest("bounds"))


relu_clip.require("the bounds are constants, and more than zero is left")(_some_positive)


@relu_clip.replace
def _(op, m):
    return clip(op, m.x, after(bounds_of(m.first), bounds_of(m.root)))


@relu_clip.example
def _(g):
    low, high = _bounds(g, np.float32, (-3, 0, 1, 9), (2, 6))
    g.output(g.Clip(g.Relu(g.Neg(g.input(g.shape()))), low, high))


def _same(kind: str):
    @rule(f"{kind.lower()}-{kind.lower()}", fidelity="exact")
    def nested(p):
        return p.op(kind, p.op(kind, p.x, p.constant("a", where=_ordered)), p.constant("b", where=_ordered))

    @nested.require("the joint constant is no larger, and no zeros of two signs meet")
    def _(m):
        both = np.broadcast_shapes(m.a.shape, m.b.shape) if _fit(m.a, m.b) else None
        if both is None or math.prod(both) > max(m.a.size, m.b.size):
            return False
        return not ((m.a == 0) & (m.b == 0) & (np.signbit(m.a) != np.signbit(m.b))).any()

    @nested.replace
    def _(op, m):
        choose = np.maximum if kind == "Max" else np.minimum
        return op.op(kind, m.x, choose(m.a, m.b))

    @nested.example
    def _(g):
        x = g.Neg(g.input(g.shape(least=1)))
        one = g.op(kind, x, g.constant(np.float32(g.integer(-2, 2))))
        g.output(g.op(kind, one, g.constant([np.float32(g.pick([1.0, 2.0, 0.5]))])))

    return nested


def _ordered(array: np.ndarray) -> bool:
    return array.dtype.kind in "fiu" and not np.isnan(array).any()


def _fit(a: np.ndarray, b: np.ndarray) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(a.shape[::-1], b.shape[::-1], strict=False))


class MergeClips(RewritePass):
    """Make one Clip out of Clips and Relus in a row, and one Max or Min out of two with constants."""

    name = "merge-clips"
    rules = (clip_clip, clip_relu, relu_clip, _same("Max"), _same("Min"))
