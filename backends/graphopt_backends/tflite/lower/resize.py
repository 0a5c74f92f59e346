"""Resize and Upsample: where LiteRT's sampling grid is ONNX's, its builtin; nearest also by GATHER on any grid."""

from __future__ import annotations

import onnx_ir as ir

from graphopt_backends.tflite import layout, sampling
from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.lower.shape import take
from graphopt_backends.tflite.lower.unary import require_float
from graphopt_backends.tflite.onnx_node import fixed, integer, integers, operand, required, text
from graphopt_backends.tflite.registry import Decline, lowering
from graphopt_backends.tflite.sampling import Grid


@lowering("Resize", "Upsample")
def resize(node: ir.Node, e: Emitter) -> None:
    """RESIZE_NEAREST_NEIGHBOR or RESIZE_BILINEAR, or a GATHER an axis for other nearest grids."""
    x, y = required(node, 0), node.outputs[0]
    grids = _grids(node, e)
    mode = text(node, "mode", "nearest")
    if mode == "nearest":
        return _nearest(node, e, x, y, grids)
    if mode not in ("linear", "bilinear"):
        raise Decline(f"mode {mode!r}; LiteRT resizes by nearest and bilinear")
    return _linear(node, e, x, y, grids)


def _grids(node: ir.Node, e: Emitter) -> list[Grid]:
    """The sampling grid of each axis."""
    x, shape, made = required(node, 0), e.shape(required(node, 0)), e.shape(node.outputs[0])
    upsample = node.op_type == "Upsample" or e.opset < 11
    transform = "asymmetric" if upsample else text(node, "coordinate_transformation_mode", "half_pixel")
    if transform == "tf_crop_and_resize":
        raise Decline("coordinate_transformation_mode tf_crop_and_resize")
    if integer(node, "antialias", 0) or integer(node, "exclude_outside", 0):
        raise Decline("antialias or exclude_outside; LiteRT's resizing has neither")
    if text(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Decline("keep_aspect_ratio_policy other than stretch")
    rounding = "floor" if upsample else text(node, "nearest_mode", "round_prefer_floor")
    scales = [after / before for before, after in zip(shape, made, strict=True)]
    axes = [axis % e.rank(x) for axis in integers(node, "axes") or range(e.rank(x))]
    given = _scales(node, e, upsample)
    if transform == "align_corners" and any(n * s % 1 for n, s in zip(shape, given or [], strict=False)):
        raise Decline("align_corners at a scale that does not give a whole length, where runtimes disagree")
    for axis, scale in zip(axes, given or [], strict=False):
        scales[axis] = scale
    return [
        Grid(before, after, scale, transform, rounding)
        for before, after, scale in zip(shape, made, scales, strict=True)
    ]


def _scales(node: ir.Node, e: Emitter, upsample: bool) -> list[float] | None:
    attribute = node.attributes.get("scales")
    if attribute is not None:
        return [float(item) for item in attribute.as_floats()]
    if not upsample and operand(node, 3) is not None:
        return None
    array = fixed(node, e, 1 if upsample else 2, "scales")
    return None if array is None or not array.size else [float(item) for item in array]


def _nearest(node: ir.Node, e: Emitter, x: ir.Value, y: ir.Value, grids: list[Grid]) -> None:
    wanted = [sampling.nearest(grid) for grid in grids]
    planes = _planes(e, x, grids)
    if planes is not None:
        for align, half in sampling.FLAGS:
            if all((sampling.litert_nearest(g, align, half) == w).all() for g, w in zip(grids, wanted, strict=True)):
                return _builtin(e, "RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions", x, y, planes, align, half)
    where = e.layout(x)
    data = e.read(x, where)
    for stored, axis in enumerate(where):
        if grids[axis].moves:
            data = take(e, data, stored, wanted[axis])
    return e.write(y, data, where)


def _linear(node: ir.Node, e: Emitter, x: ir.Value, y: ir.Value, grids: list[Grid]) -> None:
    require_float(node, e)
    planes = _planes(e, x, grids)
    if planes is None:
        raise Decline("linear over axes other than two next to each other; LiteRT resizes height and width")
    for align, half in sampling.FLAGS:
        if all(sampling.linear_agrees(grid, align, half) for grid in grids):
            return _builtin(e, "RESIZE_BILINEAR", "ResizeBilinearOptions", x, y, planes, align, half)
    first = next(grid for grid in grids if grid.moves)
    raise Decline(
        f"coordinate_transformation_mode {first.transform} from {first.before} to {first.after} elements at scale "
        f"{first.scale:g} samples where LiteRT's RESIZE_BILINEAR does not"
    )


def _planes(e: Emitter, x: ir.Value, grids: list[Grid]) -> layout.Layout | None:
    """A layout of four axes (or three) whose middle ones are those resized, None where there is none."""
    moving, rank = {axis for axis, grid in enumerate(grids) if grid.moves}, len(grids)
    if rank == 3:
        candidates = [layout.channels_last(3), layout.identity(3)]
    elif rank == 4:
        candidates = [e.layout(x), layout.channels_last(4), layout.identity(4)]
    else:
        return None
    return next((where for where in candidates if moving <= set(where[1:-1])), None)


def _builtin(
    e: Emitter, name: str, table: str, x: ir.Value, y: ir.Value, where: layout.Layout, align: bool, half: bool
) -> None:
    data, made = e.read(x, where), layout.stored(e.shape(y), where)
    if len(where) == 3:
        data = e.reshape(data, (e.shape_of(data)[0], 1, *e.shape_of(data)[1:]))
    sizes = made[1:-1] if len(where) == 4 else (1, made[1])
    resized = e.op(
        name, [data, e.indices(sizes)], (made[0], *sizes, made[-1]), table, alignCorners=align, halfPixelCenters=half
    )
    e.write(y, e.reshape(resized, made), where)
