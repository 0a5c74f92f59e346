"""Facts of a sliding window: what its attributes come to on the sizes that the node has.

    window.size   "1", "up to 3" or "from 4"      window.pads  "zero", "symmetric", "asymmetric" or "wide"
    window.volume "up to 256", "up to 1024", "up to 4096", "up to 10000" or "more" elements
    window.rest   "some" where the last window does not end at the end of the padded input, else "none"

What depends on sizes that are not static is "computed".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from graphopt.ir.edit import static_shape
from graphopt.support.predicate import Fact

if TYPE_CHECKING:
    import onnx_ir as ir

WINDOWED: Final = frozenset({"Conv", "AveragePool", "MaxPool", "LpPool", "ConvInteger", "QLinearConv"})
"""Operators that slide a window over their first input."""


_VOLUMES: Final = (256, 1024, 4096, 10000)


def window_facts(node: ir.Node) -> dict[str, Fact]:
    """The window facts of a node; empty where it has no window or nothing says how large it is."""
    kernel = _kernel(node)
    if node.op_type not in WINDOWED or not kernel:
        return {}
    found: dict[str, Fact] = {"window.size": "1" if max(kernel) == 1 else "up to 3" if max(kernel) <= 3 else "from 4"}
    found["window.volume"] = next((f"up to {most}" for most in _VOLUMES if math.prod(kernel) <= most), "more")
    shape = static_shape(node.inputs[0])
    if shape is None or len(shape) != len(kernel) + 2:
        return found | {"window.pads": "computed", "window.rest": "computed"}
    rank = len(kernel)
    strides, dilations = _ints(node, "strides") or [1] * rank, _ints(node, "dilations") or [1] * rank
    extents = [dilation * (size - 1) + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    before, after = _pads(node, shape[2:], extents, strides)
    rest = [
        (size + a + b - extent) % stride
        for size, a, b, extent, stride in zip(shape[2:], before, after, extents, strides, strict=True)
    ]
    return found | {"window.pads": _class(before, after, kernel), "window.rest": "some" if any(rest) else "none"}


def _kernel(node: ir.Node) -> list[int]:
    given = _ints(node, "kernel_shape")
    if given or len(node.inputs) < 2:
        return given
    weights = static_shape(node.inputs[1])
    return list(weights[2:]) if weights is not None else []


def _pads(node: ir.Node, sizes: tuple[int, ...], extents: list[int], strides: list[int]) -> tuple[list[int], list[int]]:
    attribute = node.attributes.get("auto_pad")
    mode = "NOTSET" if attribute is None or attribute.is_ref() else attribute.as_string()
    rank = len(sizes)
    if mode == "VALID":
        return [0] * rank, [0] * rank
    if mode == "NOTSET":
        given = _ints(node, "pads") or [0] * (2 * rank)
        return given[:rank], given[rank:]
    # SAME pads so that the output has ceil(size / stride) elements (ONNX operator Conv, attribute auto_pad)
    total = [
        max(0, (-(-size // stride) - 1) * stride + extent - size)
        for size, extent, stride in zip(sizes, extents, strides, strict=True)
    ]
    less, more = [pad // 2 for pad in total], [pad - pad // 2 for pad in total]
    return (less, more) if mode == "SAME_UPPER" else (more, less)


def _class(before: list[int], after: list[int], kernel: list[int]) -> str:
    if not any(before) and not any(after):
        return "zero"
    if any(2 * max(a, b) > size for a, b, size in zip(before, after, kernel, strict=True)):
        return "wide"
    return "symmetric" if before == after else "asymmetric"


def _ints(node: ir.Node, name: str) -> list[int]:
    attribute = node.attributes.get(name)
    return [] if attribute is None or attribute.is_ref() else list(attribute.as_ints())
