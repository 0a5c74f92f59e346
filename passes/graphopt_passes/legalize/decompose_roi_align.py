"""Align regions that are computed at run time, by weights that are computed as well.

    x, rois, images ─ RoiAlign ─ y    becomes    x ─ Gather(images) ─ MatMul(weights of rows) ─ MatMul(of columns) ─ y

    weights = mean over the samples of a bin of max(0, 1 − |place − element|)

Bilinear samples on a grid are a product of weights of rows and of columns (He et al., arXiv:1703.06870, section 3, and
ONNX operator RoiAlign), so nothing is gathered by computed places; a batch of one image needs no Gather at all. The
number of regions need not be known, that of samples must be. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import opset, shape_of
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.parts import reshape, take, transpose, unsqueeze
from graphopt_passes.scalars import is_float, number

_ASKED = 16
"""Opset from which RoiAlign says where elements lie."""


@rule("align-computed", fidelity="rounding")
def align(p):
    return p.RoiAlign(p.x, p.rois, p.images, mode=p.attribute(where=lambda mode: mode == "avg"))


@align.require("it is floating point, and the height and width of its input are known")
def _(m):
    shape = shape_of(m.x)
    return is_float(m.x) and shape is not None and len(shape) == 4 and all(isinstance(one, int) for one in shape[2:])


@align.require("sampling_ratio says how many samples there are, and its output has elements")
def _(m):
    return all(attribute(m.root, name) > 0 for name in ("sampling_ratio", "output_height", "output_width"))


@align.replace
def _(op, m):
    shape = shape_of(m.x)
    images = m.x if shape[0] == 1 else op.Gather(m.x, m.images, axis=0)
    rows, columns = (_weights(op, m, axis, int(shape[2 + axis])) for axis in (0, 1))
    return op.MatMul(op.MatMul(rows, images), transpose(op, columns, [0, 1, 3, 2]))


def _weights(op, m, axis, size):
    """Weights of axis 0 (rows) or 1 (columns), [regions, 1, bins, size]."""
    node = m.root
    bins, count = attribute(node, ("output_height", "output_width")[axis]), attribute(node, "sampling_ratio")
    half = opset(node) >= _ASKED and attribute(node, "coordinate_transformation_mode") == "half_pixel"
    scale = number(m.x, attribute(node, "spatial_scale"))
    start, end = (op.Mul(take(op, m.rois, [side], 1, 4), scale) for side in (1 - axis, 3 - axis))
    length = op.Sub(end, start)
    if half:
        start = op.Sub(start, number(m.x, 0.5))
    else:
        length = op.Max(length, number(m.x, 1))
    steps = (np.arange(bins * count)[None] + 0.5) / (bins * count)
    places = op.Add(start, op.Mul(length, steps.astype(m.x.dtype.numpy())))
    inside = op.Min(op.Max(places, number(m.x, 0)), number(m.x, size - 1))
    elements = np.arange(size)[None, None].astype(m.x.dtype.numpy())
    tents = op.Relu(op.Sub(number(m.x, 1), op.Abs(op.Sub(unsqueeze(op, inside, [2]), elements))))
    # a sample more than one element outside counts as zero
    beyond = op.Greater(op.Abs(op.Sub(places, number(m.x, (size - 1) / 2))), number(m.x, (size + 1) / 2))
    counted = op.Where(unsqueeze(op, beyond, [2]), number(m.x, 0), tents)
    split = reshape(op, counted, [-1, bins, count, size])
    return unsqueeze(op, reduce(op, "ReduceMean", split, [2], keepdims=False), [1])


@align.example
def _(g):
    count, batch = g.integer(1, 3), g.integer(1, 2)
    x = g.input([batch, g.integer(1, 3), g.integer(4, 7), g.integer(4, 7)], static=True, finite=True)
    corner = g.Mul(g.Sigmoid(g.input([count, 2], static=True, finite=True)), g.constant(np.float32(4)))
    size = g.Mul(g.Sigmoid(g.input([count, 2], static=True, finite=True)), g.constant(np.float32(4)))
    rois = g.Concat(corner, g.Add(corner, g.Add(size, g.constant(np.float32(0.5)))), axis=1)
    images = g.constant(np.array([g.integer(0, batch - 1) for _ in range(count)], np.int64))
    options = {"output_height": g.integer(1, 3), "output_width": g.integer(1, 3), "sampling_ratio": g.integer(1, 3)}
    g.output(g.RoiAlign(x, rois, images, spatial_scale=g.pick([0.5, 1.0]), **options), 4)


class DecomposeRoiAlign(Substitution):
    """Write RoiAlign of computed regions as two MatMuls."""

    name = "decompose-roi-align"
    rules = (align,)
