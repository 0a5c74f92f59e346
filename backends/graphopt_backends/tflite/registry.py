"""The registry of lowerings: a function that writes an ONNX operator as LiteRT builtins, found by operator type.

    @lowering("Relu", "Tanh")
    def unary(node, e): ...

Every module of the folder `lower` is searched, so that a new operator family is a new file and nothing else.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from graphopt.errors import GraphoptError

if TYPE_CHECKING:
    import onnx_ir as ir

    from graphopt_backends.tflite.emitter import Emitter

WIDEN = ("graphopt.tflite", "Widen")
"""Domain and name of a Cast of a float16 constant to float32 that is to stay one: weights of half the size."""

Lowering = Callable[["ir.Node", "Emitter"], None]


class Decline(GraphoptError):
    """A lowering does not take this node; the message says why, in the user's words."""


def lowering(*op_types: str) -> Callable[[Lowering], Lowering]:
    """Mark a function as the lowering of ONNX operators: "Conv", or "domain::Name" outside of ONNX's own domain."""

    def mark(function: Lowering) -> Lowering:
        function.lowers = op_types  # type: ignore[attr-defined]
        return function

    return mark


@functools.cache
def lowerings() -> Mapping[str, Lowering]:
    """All lowerings by operator type."""
    from graphopt_backends.tflite import lower

    found: dict[str, Lowering] = {}
    for info in pkgutil.iter_modules(lower.__path__):
        module = importlib.import_module(f"{lower.__name__}.{info.name}")
        for function in vars(module).values():
            for op_type in getattr(function, "lowers", ()):
                found[op_type] = function
    return found


def name_of(node: ir.Node) -> str:
    """The node's name, or that of its first output where it has none."""
    return node.name or next((output.name for output in node.outputs if output.name), "") or ""


def operator_of(node: ir.Node) -> str:
    """The key of a node in the registry."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"
