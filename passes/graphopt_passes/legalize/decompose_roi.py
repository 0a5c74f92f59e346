"""Crop regions out of images by constant weights: RoiAlign, MaxRoiPool and com.microsoft's CropAndResize.

    x, rois, images ─ RoiAlign(avg) ─ y      becomes    x ─ Gather(images) ─ MatMul(rows) ─ MatMul(columns) ─ y
    x, rois, images ─ CropAndResize ─ y      becomes    the same, with a Where for what lies outside
    x, rois ─ MaxRoiPool ─ y                 becomes    x as [places, channels] ─ Gather(cells) ─ ReduceMax ─ y
    x, rois, images ─ RoiAlign(max) ─ y      becomes    the same, with a Mul by weights in front of the ReduceMax

The mean of bilinear samples on a grid is a product of weights of rows and of columns, [regions, bins, sizes] (He et
al., arXiv:1703.06870, section 3, and ONNX operator RoiAlign). Regions must be constants. Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.edit import opset, static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.parts import reshape, take, transpose
from graphopt_passes.scalars import is_float

_ASKED = 16
"""Opset from which RoiAlign says where elements lie."""
_MOST = 1 << 22
"""Weights up to which they are written down."""


@rule("align-by-matmul", fidelity="rounding")
def align(p):
    return p.RoiAlign(p.x, p.constant("rois"), p.constant("images"), mode=p.attribute(where=lambda mode: mode == "avg"))


@rule("align-by-gather", fidelity="rounding")
def align_max(p):
    return p.RoiAlign(p.x, p.constant("rois"), p.constant("images"), mode=p.attribute(where=lambda mode: mode == "max"))


@rule("pool-regions-by-gather", fidelity="rounding")
def pool(p):
    return p.MaxRoiPool(p.x, p.constant("rois"))


@rule("crop-by-matmul", fidelity="rounding")
def crop(p):
    return p.CropAndResize(
        p.x, p.constant("rois"), p.constant("images"), p.constant("size"), domain="com.microsoft", as_="crop"
    )


for one in (align, align_max, pool, crop):
    one.require("it is floating point of known sizes")(
        lambda m: is_float(m.x) and len(static_shape(m.x) or ()) == 4 and m.rois.size > 0
    )


def _samples(m, axis: int) -> list[np.ndarray]:
    """Places along axis 0 (rows) or 1 (columns) for each region, [bins, samples]; NaN outside of −1 to size."""
    node, size = m.root, static_shape(m.x)[2 + axis]
    bins = attribute(node, ("output_height", "output_width")[axis])
    half = opset(node) >= _ASKED and attribute(node, "coordinate_transformation_mode") == "half_pixel"
    scale, wanted = np.float32(attribute(node, "spatial_scale")), attribute(node, "sampling_ratio")
    found = []
    for roi in m.rois.astype(np.float32):
        start, end = (roi[side] * scale - np.float32(0.5 if half else 0) for side in (1 - axis, 3 - axis))
        length = end - start if half else max(end - start, np.float32(1))
        count = wanted if wanted > 0 else math.ceil(length / bins)
        steps = (np.arange(bins)[:, None] + (np.arange(count) + 0.5) / max(count, 1)) * (length / bins)
        places = (start + steps).astype(np.float64)
        inside = (places >= -1) & (places <= size)
        found.append(np.where(inside, np.clip(places, 0, size - 1), np.nan))
    return found


def _tents(places: np.ndarray, size: int) -> np.ndarray:
    """Bilinear weights of places, a last axis of `size` elements; zero for NaN."""
    return np.nan_to_num(np.maximum(0, 1 - np.abs(places[..., None] - np.arange(size))))


for one in (align, align_max):
    one.require("no region is turned inside out")(
        lambda m: all(part.size for axis in (0, 1) for part in _samples(m, axis))
    )


@align.require(f"no more than {_MOST} weights come of it")
def _(m):
    _, _, height, width = static_shape(m.x)
    rows, columns = attribute(m.root, "output_height"), attribute(m.root, "output_width")
    return len(m.rois) * max(rows * height, columns * width) <= _MOST


@align.replace
def _(op, m):
    shape = static_shape(m.x)
    sides = [np.stack([_tents(one, shape[2 + axis]).mean(axis=1) for one in _samples(m, axis)]) for axis in (0, 1)]
    return _multiplied(op, m, *sides)


def _multiplied(op, m, rows, columns):
    """Rows [R, h, H] times each image times columns [R, w, W]."""
    dtype = m.x.dtype.numpy()
    images = take(op, m.x, m.images.reshape(-1), 0, static_shape(m.x)[0])
    tall = op.MatMul(rows[:, None].astype(dtype), images)
    return op.MatMul(tall, np.ascontiguousarray(columns[:, None].swapaxes(2, 3).astype(dtype)))


@crop.require("its size is a constant, and it is linear")
def _(m):
    return m.size.size == 2 and (attribute(m.crop, "mode") or "bilinear") in ("bilinear", b"bilinear")


@crop.replace
def _(op, m):
    shape, sides, outside = static_shape(m.x), [], []
    for axis, count in enumerate(m.size.tolist()):
        size = shape[2 + axis]
        start, end = (m.rois[:, side, None].astype(np.float32) * (size - 1) for side in (axis, axis + 2))
        step = np.arange(count, dtype=np.float32) * ((end - start) / (count - 1)) if count > 1 else (end - start) / 2
        places = start + step
        out = (places < 0) | (places > size - 1)
        sides.append(_tents(np.where(out, np.nan, places.astype(np.float64)), size))
        outside.append(out)
    cropped = _multiplied(op, m, *sides)
    mask = (outside[0][:, :, None] | outside[1][:, None, :])[:, None]
    fill = np.array(attribute(m.crop, "extrapolation_value") or 0, m.x.dtype.numpy())
    return op.Where(mask, fill, cropped) if mask.any() else cropped


@align_max.replace
def _(op, m):
    height, width = static_shape(m.x)[2:]
    found = []
    for image, rows, columns in zip(m.images.reshape(-1), _samples(m, 0), _samples(m, 1), strict=True):
        (y, heavy), (x, wide) = _corners(rows, height), _corners(columns, width)
        cells = (int(image) * height + y[:, None, :, None]) * width + x[None, :, None, :]
        weights = heavy[:, None, :, None] * wide[None, :, None, :]
        found.append((cells.reshape(*cells.shape[:2], -1), weights.reshape(*cells.shape[:2], -1)))
    return _highest(op, m, *map(_even, zip(*found, strict=True)))


def _corners(places, size):
    """The elements on both sides of places [bins, samples] and their weights, as [bins, 2 · samples]; none for NaN."""
    known = np.nan_to_num(places)
    low = np.floor(known).astype(np.int64)
    rest, there = known - low, ~np.isnan(places)
    return np.hstack([low, np.minimum(low + 1, size - 1)]), np.hstack([(1 - rest) * there, rest * there])


def _even(arrays) -> np.ndarray:
    """Arrays stacked; the last element stands for those that others have more of."""
    most = max(one.shape[-1] for one in arrays)
    return np.stack([np.pad(one, ((0, 0), (0, 0), (0, most - one.shape[-1])), mode="edge") for one in arrays])


@pool.replace
def _(op, m):
    height, width = static_shape(m.x)[2:]
    counts, scale = attribute(m.root, "pooled_shape"), np.float32(attribute(m.root, "spatial_scale"))
    found = []
    for image, *corners in m.rois.astype(np.float32):
        # half away from zero, as C rounds
        left, top, right, bottom = (int(np.floor(np.float32(one * scale) + np.float32(0.5))) for one in corners)
        bins = [
            [
                range(
                    min(max(start + math.floor(index * step), 0), size),
                    min(max(start + math.ceil((index + 1) * step), 0), size),
                )
                for index in range(count)
            ]
            for start, end, size, count in ((top, bottom, height, counts[0]), (left, right, width, counts[1]))
            for step in [np.float32(max(end - start + 1, 1)) / np.float32(count)]
        ]
        for rows in bins[0]:
            for columns in bins[1]:
                cells = [(int(image) * height + y) * width + x for y in rows for x in columns]
                found.append((np.array([[cells or [0]]]), np.array([[[float(bool(cells))] * max(1, len(cells))]])))
    cells, weights = map(_even, zip(*found, strict=True))
    shape = (len(m.rois), *counts, -1)
    return _highest(op, m, cells.reshape(shape), weights.reshape(shape))


def _highest(op, m, cells, weights):
    """The largest of the elements in cells [R, h, w, n], each times its weight, of all channels: [R, C, h, w]."""
    channels = static_shape(m.x)[1]
    regions, *bins, count = cells.shape
    flat = reshape(op, transpose(op, m.x, [0, 2, 3, 1]), [-1, channels])
    found = op.Gather(flat, cells.reshape(-1, count).astype(np.int64), axis=0)
    if (weights != 1).any():
        found = op.Mul(found, weights.reshape(-1, count, 1).astype(m.x.dtype.numpy()))
    highest = reduce(op, "ReduceMax", found, [1], keepdims=False)
    return transpose(op, reshape(op, highest, [regions, *bins, channels]), [0, 3, 1, 2])


def _regions(g, size):
    """Regions of at least one element in an image, and the image of each."""
    count = g.integer(1, 3)
    corners = np.random.default_rng(g.integer(0, 999)).uniform(size / 8, size / 2, (count, 4)).astype(np.float32)
    corners[:, 2:] += corners[:, :2]
    return corners, np.array([g.integer(0, 1) for _ in range(count)], np.int64)


def _image(g):
    return g.input([2, g.integer(1, 3), g.integer(6, 8), g.integer(6, 8)], static=True, finite=True)


def _align_example(g, mode):
    corners, images = _regions(g, 6)
    options = {"output_height": g.integer(1, 3), "output_width": g.integer(1, 3), "sampling_ratio": g.integer(0, 2)}
    if g.opset >= _ASKED:
        options["coordinate_transformation_mode"] = g.pick(["half_pixel", "output_half_pixel"])
    given = [g.constant(corners), g.constant(images)]
    g.output(g.RoiAlign(_image(g), *given, mode=mode, spatial_scale=g.pick([0.5, 1.0]), **options), 4)


@align.example
def _(g):
    _align_example(g, "avg")


@align_max.example
def _(g):
    _align_example(g, "max")


@pool.example
def _(g):
    corners, images = _regions(g, 6)
    rois = g.constant(np.hstack([images[:, None], corners]).astype(np.float32))
    size = [g.integer(1, 3), g.integer(1, 3)]
    g.output(g.MaxRoiPool(_image(g), rois, pooled_shape=size, spatial_scale=g.pick([0.5, 1.0])), 4)


@crop.example
def _(g):
    corners, images = _regions(g, 1)
    corners[:, 2:] += np.float32(0.9)
    given = [g.constant(corners), g.constant(images.astype(np.int32)), g.constant(np.array([2, 3], np.int32))]
    g.output(g.CropAndResize(_image(g), *given, extrapolation_value=2.0, domain="com.microsoft"), 4)


class DecomposeRoi(Substitution):
    """Crop constant regions by MatMul or Gather."""

    name = "decompose-roi"
    rules = (align, align_max, pool, crop)
