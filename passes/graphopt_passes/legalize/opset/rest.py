"""What is left: defaults that changed, operators that got another name, and things that could once be left unsaid."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, shape_of
from graphopt_passes.legalize.opset.change import Change, integers
from graphopt_passes.legalize.opset.moves import Adapter
from graphopt_passes.legalize.opset.resize import rename

_GRID_MODES = {"bilinear": "linear", "nearest": "nearest", "bicubic": "cubic"}


def same_shapes(change: Change) -> None:
    """Max, Mean, Min and Sum did not broadcast before opset 8."""
    shapes = [shape_of(value) for value in change.node.inputs]
    if len(shapes) > 1 and any(s is None or s != shapes[0] for s in shapes):
        change.refuse("opset 7 does not broadcast there, and its inputs are not known to have one shape")


def constant_12_down(change: Change) -> None:
    """A Constant written as numbers becomes one written as a tensor."""
    for name, held in list(change.node.attributes.items()):
        if name == "value":
            continue
        if held.is_ref():
            change.refuse(f"its attribute {name} is the caller's")
        if name.startswith("value_string"):
            words = [held.value] if name == "value_string" else list(held.value)
            texts = [w.encode() if isinstance(w, str) else w for w in words]
            shape = ir.Shape([] if name == "value_string" else [len(texts)])
            tensor: ir.TensorProtocol = ir.StringTensor(texts, shape=shape)
        elif name.startswith("value_"):
            tensor = ir.tensor(np.array(held.value, np.float32 if "float" in name else np.int64))
        else:
            change.refuse(f"opset 11 does not have its attribute {name}")
        change.set(**{name: None})
        change.node.attributes["value"] = ir.AttrTensor("value", tensor)
    change.node.meta.pop("graphopt.tensor", None)


def constant_9_down(change: Change) -> None:
    """A Constant that is not of floats becomes an initializer."""
    tensor = constant(change.node.outputs[0])
    if tensor is None or tensor.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE):
        return
    if change.in_function:
        change.refuse("opset 8 has constants of floats alone")
    change.replace(change.constant(tensor.numpy()))


def gemm_down(change: Change) -> None:
    """Gemm's third input was required; minus zero is what changes nothing when it is added."""
    if change.input(2) is None:
        dtype = change.dtype().numpy()
        change.set_input(2, np.array([-0.0 if dtype.kind == "f" else 0], dtype))
        change.set(beta=1.0)


def roi_align_up(change: Change) -> None:
    """RoiAlign's coordinates were not shifted by half a pixel; now that is the default."""
    change.set(coordinate_transformation_mode="output_half_pixel")


def roi_align_down(change: Change) -> None:
    """RoiAlign with the coordinates of opset 10."""
    if change.attribute("coordinate_transformation_mode") != "output_half_pixel":
        change.refuse("opset 15 does not shift coordinates by half a pixel")
    change.set(coordinate_transformation_mode=None)


def grid_sample_up(change: Change) -> None:
    """GridSample's modes got the names that hold for any number of axes."""
    change.set(mode=_GRID_MODES[change.attribute("mode")])


def grid_sample_down(change: Change) -> None:
    """GridSample of images, with the names of their modes."""
    if change.rank() != 4:
        change.refuse("opset 19 samples images alone")
    change.set(mode={new: old for old, new in _GRID_MODES.items()}[change.attribute("mode")])


def scatter_reduction(*known: str) -> Adapter:
    """ScatterElements and ScatterND with the reductions that were there."""

    def adapt(change: Change) -> None:
        how = change.attribute("reduction")
        if how not in known:
            change.refuse(f"opset {change.version - 1} does not have the reduction {how}")

    return adapt


def scale_is_one(change: Change) -> None:
    """QuantizeLinear and DequantizeLinear with one scale for all, where the axis means nothing."""
    shape = change.shape(1)
    if shape is None or len(shape) > 0:
        change.refuse("opset 12 has one scale for a whole tensor")
    change.set(axis=None)


def cast_like(change: Change) -> None:
    """CastLike to a type that is known is a Cast."""
    made = change.make("Cast", change.input(0), to=int(change.dtype(1)))
    made.type = ir.TensorType(change.dtype(1))
    change.replace(made)


def default_round(change: Change) -> None:
    """A Cast to an ordinary type: how it rounds or saturates to an eight-bit float means nothing there."""
    target = ir.DataType(change.attribute("to")) if change.node.op_type == "Cast" else change.dtype(1)
    if not target.name.startswith("FLOAT8"):
        change.set(saturate=None, round_mode=None)


def range_down(change: Change) -> None:
    """Range said nothing of how 16-bit steps are added up."""
    if change.dtype() in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16):
        change.refuse("how opset 26 adds up steps of 16 bits is not defined")
    change.set(stash_type=None)


def mod_down(change: Change) -> None:
    """Mod with the divisor's sign was for integers: what C's fmod leaves gets the divisor added where signs differ.

    a, b ─ Mod ─ y      becomes      r = Mod(a, b, fmod=1);  y = Where(r ≠ 0 and r < 0 ≠ b < 0, r + b, r)
    """
    dtype = change.dtype().numpy()
    if change.attribute("fmod") or dtype.kind in "iu":
        return
    divisor, zero = change.input(1), np.array(0, dtype)
    rest = change.make("Mod", change.input(0), divisor, fmod=1)
    differ = change.make("Xor", change.make("Less", rest, zero), change.make("Less", divisor, zero))
    there = change.make("Not", change.make("Equal", rest, zero))
    turned = change.make("Where", change.make("And", there, differ), change.make("Add", rest, divisor), rest)
    change.replace(turned)


def space_to_depth_down(change: Change) -> None:
    """SpaceToDepth had one order of blocks; the other is written out.

    x ─ Reshape[N, C, H/b, b, W/b, b] ─ Transpose(0, 1, 3, 5, 2, 4) ─ Reshape[N, C·b·b, H/b, W/b] ─ y
    """
    if change.attribute("mode") == "DCR":
        change.set(mode=None)
        return
    shape, block = change.shape(), int(change.attribute("blocksize"))
    sizes = None if shape is None else [d for d in shape if isinstance(d, int)]
    if sizes is None or len(sizes) < 4:
        change.refuse("opset 27 has blocks in the order DCR alone, and the sizes of its input are not known")
    n, c, h, w = sizes
    apart = change.make("Reshape", change.input(0), integers([n, c, h // block, block, w // block, block]))
    turned = change.make("Transpose", apart, perm=[0, 1, 3, 5, 2, 4])
    change.replace(change.make("Reshape", turned, integers([n, c * block * block, h // block, w // block])))


def scan_has_no_batch(change: Change) -> None:
    """Scan of opset 8 has a batch axis."""
    change.refuse("opset 9 has no Scan with a batch axis; where sizes are fixed, unroll-scans writes it out before")


UP: dict[tuple[str, int], Adapter] = {
    ("Scatter", 11): rename("ScatterElements"), ("RoiAlign", 16): roi_align_up, ("GridSample", 20): grid_sample_up,
    ("Scan", 9): scan_has_no_batch,
}  # fmt: skip
DOWN: dict[tuple[str, int], Adapter] = {
    **{(op, 8): same_shapes for op in ("Max", "Mean", "Min", "Sum")},
    **{(op, v): scatter_reduction("none", "add", "mul") for op, v in (("ScatterElements", 18), ("ScatterND", 18))},
    **{(op, 13): scale_is_one for op in ("QuantizeLinear", "DequantizeLinear")},
    **{(op, v): default_round for op in ("Cast", "CastLike") for v in (19, 24)},
    ("Constant", 12): constant_12_down, ("Constant", 9): constant_9_down, ("Gemm", 11): gemm_down,
    ("RoiAlign", 16): roi_align_down, ("GridSample", 20): grid_sample_down, ("ScatterElements", 11): rename("Scatter"),
    ("CastLike", 15): cast_like, ("Range", 27): range_down, ("Mod", 28): mod_down,
    ("SpaceToDepth", 28): space_to_depth_down,
    ("Scan", 9): scan_has_no_batch,
}  # fmt: skip
