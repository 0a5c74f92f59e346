"""Does a node have the inputs and attributes that the standard gives its operator? Everything later relies on it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graphopt.errors import ModelError
from graphopt.ir.schema import schema

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class _Signature:
    """What the standard asks of an operator: the least and the most of inputs and outputs, types of attributes."""

    inputs: tuple[int, int]
    outputs: tuple[int, int]
    types: Mapping[str, int]
    required: frozenset[str]


@functools.cache
def _signature(operator: str, domain: str, version: int) -> _Signature | None:
    """None where the onnx package does not know the operator, or not yet in this version."""
    import onnx

    known = schema(operator, domain, version)
    if known is None or (not domain and version > onnx.defs.onnx_opset_version()):
        return None
    return _Signature(
        (known.min_input, known.max_input), (known.min_output, known.max_output),
        {name: int(attribute.type.value) for name, attribute in known.attributes.items()},
        frozenset(name for name, attribute in known.attributes.items() if attribute.required),
    )  # fmt: skip


def refuse_unlike(nodes: Iterable[onnx.NodeProto], opsets: Mapping[str, int], file: Path | None) -> None:
    """Refuse nodes that are not what the standard says of their operator.

    Args:
        nodes: of a graph; what is in their bodies is not looked at.
        opsets: the version of each domain.
        file: named in the error.

    Raises:
        ModelError: a node has too few or too many inputs or outputs, lacks an attribute, or has one of another type.
    """
    for node in nodes:
        domain = "" if node.domain == "ai.onnx" else node.domain
        if domain not in opsets:
            continue
        wanted = _signature(node.op_type, domain, opsets[domain])
        if wanted is None:
            continue
        wrong = _wrong(node, wanted)
        if wrong:
            name = node.name or next((f"-> {output}" for output in node.output if output), node.op_type)
            raise ModelError(f"{node.op_type} {wrong}", file=file, node=name)


def _wrong(node: onnx.NodeProto, wanted: _Signature) -> str:
    for count, (least, most), what in (
        (len(node.input), wanted.inputs, "inputs"), (len(node.output), wanted.outputs, "outputs"),
    ):  # fmt: skip
        if not least <= count <= most:
            return f"has {count} {what}, of at {f'least {least}' if count < least else f'most {most}'}"
    held = {attribute.name: attribute.type for attribute in node.attribute}
    for name, kind in held.items():
        if wanted.types.get(name, kind) != kind:
            return f"has the attribute {name!r} of another type than the standard's"
    missing = wanted.required - held.keys()
    return f"lacks the attribute {min(missing)!r}" if missing else ""
