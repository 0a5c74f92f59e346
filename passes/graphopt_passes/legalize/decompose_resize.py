"""Resize an axis at a time by constants, for backends that sample elsewhere than they are told.

    x ─ Resize(nearest) ─ y           becomes      x ─ Gather(places) ─ Gather(places) ─ y
    x ─ Resize(linear, cubic) ─ y     becomes      x ─ MatMul(weights of rows) ─ MatMul(weights of columns) ─ y

The same for Upsample. Both kernels are products of kernels of one axis, so a matrix for each axis is all there is,
whatever the coordinate mode, antialias, exclude_outside or the rank. Elements outside of a cropped region get the
extrapolation value by a Where. Sizes, scales and regions must be constants. Places are computed in float32, as
onnxruntime does it; where one is within rounding of the border between two elements, runtimes differ in which of them
is nearest. Fidelity: exact for nearest, else rounding.
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.edit import static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.parts import reshape, take
from graphopt_passes.resampling import element, resampled, weights
from graphopt_passes.scalars import is_float

_PLAIN = (2, 3, 4)
"""Ranks at which a MatMul takes an image as it is."""
_WHOLE = 1 << 24
"""Elements of a matrix up to which it is written down."""


def _resize(p, *modes):
    return p.op(("Resize", "Upsample"), p.x, p.rest("given"), mode=p.attribute(where=lambda mode: mode in modes))


@rule("nearest-by-gather", fidelity="exact")
def nearest(p):
    return _resize(p, "nearest")


@rule("resize-by-matmul", fidelity="rounding")
def by_matmul(p):
    return _resize(p, "linear", "cubic", "bilinear")


for one in (nearest, by_matmul):
    one.require("its sizes are known, and so are scales and regions")(lambda m: resampled(m.root) is not None)

    one.require("no region is cropped at a scale of 1, which runtimes do not crop at all")(
        lambda m: all(one.scale != 1 or one.idle for one in resampled(m.root))
    )


@by_matmul.require(f"it is floating point, and no matrix is larger than {_WHOLE} elements")
def _(m):
    return is_float(m.x) and all(one.size * one.count <= _WHOLE for one in resampled(m.root))


@by_matmul.require("no axis is filtered to the size that it has, which onnxruntime leaves as it is")
def _(m):
    return not attribute(m.root, "antialias") or all(one.size != one.count or one.idle for one in resampled(m.root))


@nearest.replace
def _(op, m):
    axes, value = resampled(m.root), m.x
    for one in axes:
        value = take(op, value, element(one, m.root), one.axis, one.size)
    return _extrapolated(op, m, op.Identity(value) if value is m.x else value, axes)


@by_matmul.replace
def _(op, m):
    axes, value, shape = resampled(m.root), m.x, list(static_shape(m.x))
    for one in sorted(axes, key=lambda axis: axis.count / axis.size):
        if not one.idle:
            value = _multiplied(op, value, shape, one.axis, weights(one, m.root).astype(m.x.dtype.numpy()))
            shape[one.axis] = one.count
    return _extrapolated(op, m, op.Identity(value) if value is m.x else value, axes)


def _multiplied(op, value, shape, axis, matrix):
    """The matrix [count, size] times the vectors along an axis."""
    rank = len(shape)
    if rank in _PLAIN and axis == rank - 1:
        return op.MatMul(value, np.ascontiguousarray(matrix.T))
    if rank in _PLAIN and axis == rank - 2:
        return op.MatMul(matrix, value)
    lead, rest = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    flat = op.MatMul(matrix, reshape(op, value, [lead, shape[axis], rest]))
    return reshape(op, flat, [*shape[:axis], len(matrix), *shape[axis + 1 :]])


def _extrapolated(op, m, value, axes):
    if not any(one.outside.any() for one in axes):
        return value
    shape = list(static_shape(m.x))
    outside = np.zeros((), bool)
    for axis in range(len(shape)):
        given = next((one for one in axes if one.axis == axis), None)
        outside = np.logical_or.outer(outside, [False] if given is None else given.outside)
    return op.Where(outside, np.array(attribute(m.root, "extrapolation_value"), m.x.dtype.numpy()), value)


_COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize",
)  # fmt: skip


def _example(g, scales, **options):
    """A Resize of the last two of four axes; odd numbers, so that no place lies within rounding of a border."""
    g.since(19)
    sizes = [g.integer(1, 2), g.integer(1, 2), g.integer(2, 7), g.integer(2, 7)]
    inputs = [None, g.constant(np.array([1, 1, *(g.pick(scales) for _ in "hw")], np.float32))]
    if options["coordinate_transformation_mode"] == "tf_crop_and_resize":
        region = [0, 0, 0.2331, -0.2713, 1, 1, g.pick([0.5171, 1.3137]), 0.7919]
        inputs[0] = g.constant(np.array(region, np.float32))
        options["extrapolation_value"] = 2.0
    elif scales == _ODD and g.flag():
        counts = [size + g.pick([-1, 1, 2, 3]) for size in sizes[2:]]
        inputs[1:] = [None, g.constant(np.array([*sizes[:2], *counts], np.int64))]
    g.output(g.Resize(g.input(sizes, static=True, finite=True), *inputs, **options), 4)


_ODD, _SURE = (0.5, 0.73, 1.37, 2.0, 2.3), (0.5, 0.73, 1.37, 2.0, 4.0)


@nearest.example
def _(g):
    how = g.pick(_COORDINATES)
    # the middle of an odd output lies on a border in half_pixel_symmetric, whatever the scale
    scales = (2.0, 4.0) if how == "half_pixel_symmetric" else _SURE
    rounding = g.pick(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
    _example(g, scales, mode="nearest", coordinate_transformation_mode=how, nearest_mode=rounding)


@by_matmul.example
def _(g):
    how, options = g.pick(_COORDINATES), {"mode": g.pick(["linear", "cubic"])}
    crops = how == "tf_crop_and_resize"
    if options["mode"] == "cubic":
        options |= {"cubic_coeff_a": g.pick([-0.5, -0.75]), "exclude_outside": 0 if crops else g.integer(0, 1)}
    antialias = not crops and g.flag()
    if antialias:
        options["antialias"] = 1
    _example(g, (0.5, 0.73, 1.5, 2.0, 2.3) if antialias else _ODD, coordinate_transformation_mode=how, **options)


class DecomposeResize(Substitution):
    """Resize by a Gather or a MatMul for each axis."""

    name = "decompose-resize"
    rules = (nearest, by_matmul)
