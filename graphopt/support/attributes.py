"""Facts that a node's attributes tell: as they are where few values exist, by class where the set is open."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from graphopt.ir.edit import shape_of
from graphopt.ir.schema import has_input, integers
from graphopt.support.predicate import UNKNOWN, Fact
from graphopt.support.resizing import resize_facts
from graphopt.support.windows import window_facts

if TYPE_CHECKING:
    import onnx_ir as ir

# These do nothing in inference, or only with an attribute that is a fact itself, or any value is as good.
_IRRELEVANT: Final = frozenset({
    "momentum", "cubic_coeff_a", "extrapolation_value", "seed", "storage_order", "spatial", "is_test",
    "consumed_inputs", "activation_alpha", "activation_beta", "blocksize", "size", "hidden_size", "num_outputs",
    "num_groups", "num_heads", "q_num_heads", "kv_num_heads", "kernel_shape", "output_shape", "value",
    "value_float", "value_int", "value_ints", "value_floats",
})  # fmt: skip


def attribute_facts(node: ir.Node, defaults: Mapping[str, Any]) -> dict[str, Fact]:
    """Facts from a node's attributes, and from the constant inputs that newer versions have in their place.

    Args:
        node: the node.
        defaults: the schema's default by attribute name, None where there is none.
    """
    known: dict[str, Fact] = {}
    rank = _rank(node)
    for name, default in defaults.items():
        attribute = node.attributes.get(name)
        if name in _IRRELEVANT:
            continue
        if attribute is not None and attribute.is_ref():
            known[f"attr.{name}"] = UNKNOWN
            continue
        value = default if attribute is None else attribute.value
        fact = _attribute(node, name, value, default, rank)
        if fact is not _SKIP:
            known[f"attr.{name}"] = fact
    if "attr.axis" in known and (axis := _number(node, "axis", defaults)) is not None:
        known["axis.counted"] = "as -1" if axis == -1 else "from the end" if axis < 0 else "from the start"
    if node.op_type.startswith("Reduce"):
        known["axes"] = _axes(node, rank)
        if known["axes"] != "all" and "attr.noop_with_empty_axes" in known:
            known["attr.noop_with_empty_axes"] = 0  # with axes it says nothing
    known.update(_idle(node, known))
    known.update(window_facts(node))
    known.update(resize_facts(node))
    return known


def _idle(node: ir.Node, known: Mapping[str, Fact]) -> dict[str, Fact]:
    """Defaults for the attributes of a Resize that say nothing in its mode."""
    if node.op_type != "Resize":
        return {}
    idle: dict[str, Fact] = {} if known.get("attr.mode") == "nearest" else {"attr.nearest_mode": "round_prefer_floor"}
    if known.get("attr.mode") != "cubic" and known.get("attr.antialias", 0) == 0:
        idle["attr.exclude_outside"] = 0
    return {name: value for name, value in idle.items() if name in known}


_SKIP: Final[Any] = object()


def _attribute(node: ir.Node, name: str, value: Any, default: Any, rank: int | None) -> Any:
    if name == "pads":
        kernel = node.attributes.get("kernel_shape")
        return _pads(value, None if kernel is None or kernel.is_ref() else kernel.as_ints())
    if name in _CLASSES:
        return _CLASSES[name](value)
    if name in ("start", "end"):
        return "default" if value == default else "other"
    if name == "group":
        return _group(node, value)
    if name in ("axis", "batch_axis", "time_axis") and value is not None:
        return _position(value, rank)
    if name in ("to", "dtype") and value is not None:
        import onnx_ir as ir

        return dtype_name(ir.DataType(value))
    if isinstance(value, float) or isinstance(default, float):
        return "default" if value == default or math.isclose(value, default or 0.0, rel_tol=1e-6) else "other"
    return value if value is None or isinstance(value, (int, str)) else _SKIP


def _number(node: ir.Node, name: str, defaults: Mapping[str, Any]) -> int | None:
    attribute = node.attributes.get(name)
    value = defaults.get(name) if attribute is None else None if attribute.is_ref() else attribute.value
    return value if isinstance(value, int) else None


def _all_ones(value: Sequence[int] | None) -> str:
    return "1" if not value or set(value) == {1} else "equal" if len(set(value)) == 1 else "unequal"


def _pads(value: Sequence[int] | None, kernel: Sequence[int] | None) -> str:
    if not value or not any(value):
        return "zero"
    half = len(value) // 2
    # a window that may see more padding than data is a case of its own to vendors
    if kernel and any(2 * max(value[i], value[i + half]) > size for i, size in enumerate(kernel)):
        return "wide"
    return "symmetric" if list(value[:half]) == list(value[half:]) else "asymmetric"


_CLASSES: Final[dict[str, Callable[[Any], str]]] = {
    "strides": _all_ones,
    "dilations": _all_ones,
    "output_padding": lambda value: "some" if value and any(value) else "zero",
}


def _group(node: ir.Node, value: int) -> Fact:
    if value == 1:
        return "1"
    shape = dims_of(node.inputs[0]) if node.inputs and node.inputs[0] is not None else None
    if shape is None or len(shape) < 2:
        return UNKNOWN
    return "depthwise" if shape[1] == value else "grouped"


def _position(axis: int, rank: int | None) -> Fact:
    if rank is None:
        return "last" if axis == -1 else UNKNOWN
    axis = axis + rank if axis < 0 else axis
    if axis >= rank:
        return "end"
    return "last" if axis == rank - 1 else "first" if axis == 0 else "channel" if axis == 1 else "inner"


def _rank(node: ir.Node) -> int | None:
    # axis of these counts in the output (Unsqueeze has axes), of all others in the first input
    first = node.inputs[0] if node.inputs else None
    shape = shape_of(first)
    return None if shape is None else len(shape)


def _axes(node: ir.Node, rank: int | None) -> Fact:
    given = integers(node, "axes", 1)
    if given is None:
        given = []
        if has_input(node, 1):
            return "computed"
    if rank is None:
        return UNKNOWN
    axes = sorted(axis % rank if rank else axis for axis in given)
    if not axes or len(axes) == rank:
        return "all"
    if axes == [rank - 1]:
        return "last"
    if rank > 2 and axes == list(range(2, rank)):
        return "spatial"
    return "several" if len(axes) > 1 else "channel" if axes == [1] else "other"


def dims_of(value: ir.Value) -> tuple[int | str, ...] | None:
    """A value's shape, symbolic dimensions by name; None where it is not known."""
    shape = shape_of(value)
    if shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else str(dim.value or f"?{id(dim)}") for dim in shape)


def dtype_name(dtype: ir.DataType) -> str:
    """A dtype in numpy's words: "float32", "int4", "bool"."""
    name = dtype.name.lower()
    return {"float": "float32", "double": "float64"}.get(name, name)
