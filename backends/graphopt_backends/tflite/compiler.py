"""What runs in the child process of a compilation: load, infer shapes, lower, let LiteRT prepare it, write the file."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx_ir as ir

from graphopt.ir import infer_shapes
from graphopt.support.backend import NodeIssue
from graphopt.support.foresight import Views
from graphopt_backends.tflite.flatbuffer import Operator
from graphopt_backends.tflite.lowering import Lowered, lower

_FAILED_NODE = re.compile(r"Node number (\d+) \((\w+)\) failed")


def compile_model(model: str, artifact: str) -> dict[str, Any]:
    """Compile the ONNX file `model` to the .tflite file `artifact`, written whole or not at all.

    Returns:
        {"ok": bool, "issues": [{"node", "op_type", "reason"}], "detail": {...}}
    """
    lowered, issues = lower_file(model)
    if lowered.content is not None and not issues:
        write_atomically(Path(artifact), lowered.content)
    detail = lowered.detail() if lowered.content is not None else {}
    return {"ok": not issues, "issues": [asdict(issue) for issue in issues], "detail": detail}


def lower_file(model: str) -> tuple[Lowered, Sequence[NodeIssue]]:
    """Lower the ONNX file `model` and let LiteRT's interpreter prepare the result.

    Returns:
        What became of the model, and the complaints of either.
    """
    lowered = lower(computed_ahead(with_shapes(ir.load(model))))
    if lowered.content is None:
        return lowered, lowered.issues
    return lowered, prepare(lowered.content, lowered.flat.operators)


def with_shapes(model: ir.Model) -> ir.Model:
    """`model` with functions inlined and shapes inferred where some are missing."""
    from onnx_ir.passes.common import InlinePass, ShapeInferencePass

    if model.functions:
        model = InlinePass()(model).model
    outputs = [output for node in model.graph for output in node.outputs if output.name]
    missing = [output for output in outputs if output.dtype is None or not _is_static(output.shape)]
    for output in missing:
        # A stated shape with unknown dimensions (-1 in some exporters) would outvote the one that is inferred.
        output.shape = None
    if missing:
        model = ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model).model
    return model


def computed_ahead(model: ir.Model) -> ir.Model:
    """`model` without the nodes that constants and static shapes alone decide: LiteRT need not see how sizes come."""
    infer_shapes(model)
    seen = Views(model).view("constants")
    for node in reversed(list(seen.model.graph)):
        if node in seen.ahead and not any(value.uses() or value.is_graph_output() for value in node.outputs):
            seen.model.graph.remove(node, safe=True)
    return with_shapes(seen.model) if seen.ahead else seen.model


def _is_static(shape: ir.Shape | None) -> bool:
    return shape is not None and all(isinstance(dim, int) and dim >= 0 for dim in shape)


def prepare(content: bytes, operators: Sequence[Operator]) -> list[NodeIssue]:
    """Let LiteRT build and prepare the model; what it refuses is an issue of the ONNX node it was made for."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        Interpreter(model_content=content).allocate_tensors()
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        found = _FAILED_NODE.search(reason)
        origin = operators[int(found[1])].origin if found and int(found[1]) < len(operators) else ""
        return [NodeIssue(origin, "", f"LiteRT refuses the file: {reason}")]
    return []


def write_atomically(target: Path, content: bytes) -> None:
    """Write a file beside its final name, then rename it."""
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(part, 0o666 & ~_umask())
        os.replace(part, target)
    except BaseException:
        os.unlink(part)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
