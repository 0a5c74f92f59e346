"""Resize an axis at a time by constants, for backends that sample elsewhere than they are told.

    x ─ Resize(nearest) ─ y           becomes      x ─ Gather(places) ─ Gather(places) ─ y
    x ─ Resize(linear, cubic) ─ y     becomes      x ─ MatMul(weights of rows) ─ MatMul(weights of columns) ─ y

The same for Upsample. Both kernels are products of kernels of one axis, so a matrix for each axis is all there is,
whatever the coordinate mode, antialias, exclude_outside or the rank. Elements outside of a cropped region get the
extrapolation value by a Where. Sizes, scales and regions must be constants. Fidelity: exact for nearest, else rounding.
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.edit import static_shape
from graphopt.ir.schema import attribute
from graphopt.rewrite import rule
from graphopt_passes.legalize.shaped import ShapedSubstitution
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


def _example(g, modes, ranks):
    g.since(19)
    mode, rank = g.pick(modes), g.pick(ranks)
    sizes = [g.integer(1, 3), g.integer(1, 2), *(g.integer(2, 7) for _ in range(rank - 2))]
    coordinates = [
        "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize",
    ]  # fmt: skip
    options = {"coordinate_transformation_mode": g.pick(coordinates)}
    lead = [1.0] * (rank - 2)
    crops = options["coordinate_transformation_mode"] == "tf_crop_and_resize"
    inputs = [None, None]
    if crops:
        roi = [*[0.0] * (rank - 2), 0.25, -0.25, *lead, g.pick([0.5, 1.25]), 0.75]
        inputs[0] = g.constant(np.array(roi, np.float32))
        options["extrapolation_value"] = 2.0
    if g.flag():
        scales = [0.5, 0.6, 1.5, 2.0, 2.3] if crops else [0.5, 0.6, 1.0, 1.5, 2.0, 2.3]
        inputs[1] = g.constant(np.array([*lead, *(g.pick(scales) for _ in "hw")], np.float32))
    else:
        inputs += [
            g.constant(np.array([*sizes[: rank - 2], *(size + g.pick([-1, 1, 2, 3]) for size in sizes[-2:])], np.int64))
        ]
    if mode == "nearest":
        options["nearest_mode"] = g.pick(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
    elif not crops and g.flag():
        options["antialias"] = 1
    if mode == "cubic":
        options |= {"cubic_coeff_a": g.pick([-0.5, -0.75]), "exclude_outside": 0 if crops else g.integer(0, 1)}
    x = g.input(sizes[:rank] if rank > 2 else sizes[2:] or [g.integer(2, 7), g.integer(2, 7)], static=True, finite=True)
    g.output(g.Resize(x, *inputs, mode=mode, **options), rank)


@nearest.example
def _(g):
    _example(g, ["nearest"], [4])


@by_matmul.example
def _(g):
    _example(g, ["linear", "cubic"], [4])


class DecomposeResize(ShapedSubstitution):
    """Resize by a Gather or a MatMul for each axis."""

    name = "decompose-resize"
    rules = (nearest, by_matmul)
