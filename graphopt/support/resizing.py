"""Facts of a Resize or Upsample: by how much, along which axes, and whether the sizes come out even.

    scale    "1", "integer up", "fraction up", "half" or "other down"
    resized  "none", "last", "last two", "last three" or "other" axes
    sizes    "given" as sizes, "exact" where they are sizes times scales, else "rounded"

What depends on sizes that are not static is "computed".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphopt.ir.edit import constant, static_shape
from graphopt.support.predicate import Fact

if TYPE_CHECKING:
    import onnx_ir as ir


def resize_facts(node: ir.Node) -> dict[str, Fact]:
    """The resize facts of a node; empty where it is neither Resize nor Upsample."""
    if node.op_type not in ("Resize", "Upsample"):
        return {}
    scales, source, target = _scales(node), static_shape(node.inputs[0]), static_shape(node.outputs[0])
    shapes = source is not None and target is not None and len(source) == len(target) and 0 not in source
    ratios = scales
    if ratios is None and source is not None and target is not None and shapes:
        ratios = [b / a for a, b in zip(source, target, strict=True)]
    if ratios is None:
        return {"scale": "computed", "resized": "computed", "sizes": "given"}
    sizes = "given" if scales is None else "computed"
    if scales is not None and source is not None and target is not None and shapes and len(scales) == len(source):
        even = all(size * scale == to for size, scale, to in zip(source, scales, target, strict=True))
        sizes = "exact" if even else "rounded"
    return {"scale": _scale(set(ratios)), "resized": _resized(ratios), "sizes": sizes}


def _scales(node: ir.Node) -> list[float] | None:
    attribute = node.attributes.get("scales")
    if attribute is not None and not attribute.is_ref():
        return list(attribute.as_floats())
    # scales came second until version 10; since 11 they are third, after roi
    value = node.inputs[2] if len(node.inputs) > 2 else node.inputs[1] if len(node.inputs) > 1 else None
    tensor = constant(value)
    if tensor is None or not tensor.size or "FLOAT" not in tensor.dtype.name:
        return None
    return [float(scale) for scale in tensor.numpy().reshape(-1)]


def _scale(ratios: set[float]) -> str:
    if ratios == {1.0}:
        return "1"
    if all(ratio >= 1 for ratio in ratios):
        return "integer up" if all(ratio == int(ratio) for ratio in ratios) else "fraction up"
    return "half" if ratios <= {0.5, 1.0} else "other down"


def _resized(ratios: list[float]) -> str:
    rank = len(ratios)
    axes = {axis for axis, ratio in enumerate(ratios) if ratio != 1}
    if not axes:
        return "none"
    if axes == {rank - 1}:
        return "last"
    return (
        "last two" if axes <= {rank - 2, rank - 1} else "last three" if axes <= set(range(rank - 3, rank)) else "other"
    )
