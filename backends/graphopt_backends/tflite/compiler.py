"""What runs in the child process of a compilation: load, infer shapes, lower, let LiteRT prepare it, write the file."""

from __future__ import annotations

import gc
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from graphopt.ir import infer_shapes
from graphopt.support.backend import NodeIssue
from graphopt.support.foresight import Views
from graphopt_backends.tflite.batch import SIZES, for_any_batch, pinned, symbol
from graphopt_backends.tflite.executor import open_file, xnnpack_share
from graphopt_backends.tflite.flatbuffer import Operator
from graphopt_backends.tflite.lowering import Lowered, Written, lower, write
from graphopt_backends.tflite.registry import WIDEN
from graphopt_backends.tflite.settings import PLAIN, Options

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

_HALF_SIZE = 1024
"""Elements of a float16 constant from which on it is worth an operator that widens it."""
_FAILED_NODE = re.compile(r"Node number (\d+) \((\w+)\) failed")


def compile_model(model: str, artifact: str, options: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Compile the ONNX file `model` to the .tflite file `artifact`, written whole or not at all.

    Args:
        model: the file to read.
        artifact: the file to write.
        options: fields of `settings.Options`.

    Returns:
        {"ok": bool, "issues": [{"node", "op_type", "reason"}], "detail": {...}}
    """
    lowered = lower_model(ir.load(model), Options(**options))
    if lowered.content is None:
        return {"ok": False, "issues": [asdict(issue) for issue in lowered.issues], "detail": {}}
    detail, operators, pieces = lowered.detail(), lowered.flat.operators, [lowered.content, *lowered.tail]
    del lowered
    with part_of(Path(artifact), pieces) as part:
        # The weights, and the files that they are mapped from, need not be in memory beside the file that is opened.
        gc.collect()
        interpreter, issues = opened(part.path, operators)
        if interpreter is not None:
            taken, total, left = xnnpack_share(interpreter)
            detail["xnnpack"] = {"taken": taken, "operators": total, "left": left}
            part.keep()
    return {"ok": not issues, "issues": [asdict(issue) for issue in issues], "detail": detail}


def lower_file(model: str) -> tuple[Lowered, Sequence[NodeIssue]]:
    """Lower the ONNX file `model` and let LiteRT's interpreter prepare the result.

    Returns:
        What became of the model, and the complaints of either.
    """
    lowered = lower_model(ir.load(model))
    if lowered.content is None:
        return lowered, lowered.issues
    return lowered, prepare(lowered.content, lowered.flat.operators)


def lower_model(model: ir.Model, options: Options = PLAIN) -> Lowered:
    """Lower a model; a batch of any size stays open."""
    open_batch = symbol(model)
    if open_batch is None:
        return lower(computed_ahead(with_shapes(model)), options)

    def made(size: int) -> Written:
        return write(computed_ahead(with_shapes(pinned(model, size))), options)

    return for_any_batch(open_batch, made)


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
    _keep_half_weights(model)
    seen = Views(model).view("constants")
    for node in reversed(list(seen.model.graph)):
        if node in seen.ahead and not any(value.uses() or value.is_graph_output() for value in node.outputs):
            seen.model.graph.remove(node, safe=True)
    return with_shapes(seen.model) if seen.ahead else seen.model


def _keep_half_weights(model: ir.Model) -> None:
    """Rename Casts of float16 constants to float32, so that they are not computed ahead to twice the size."""
    for node in model.graph:
        if node.op_type != "Cast" or node.domain or node.outputs[0].dtype != ir.DataType.FLOAT:
            continue
        source = None if node.inputs[0] is None else ir.convenience.get_const_tensor(node.inputs[0])
        if source is not None and source.dtype == ir.DataType.FLOAT16 and source.size >= _HALF_SIZE:
            node.domain, node.op_type = WIDEN
            model.opset_imports.setdefault(WIDEN[0], 1)


def _is_static(shape: ir.Shape | None) -> bool:
    return shape is not None and all(isinstance(dim, int) and dim >= 0 for dim in shape)


def prepare(content: bytes, operators: Sequence[Operator]) -> list[NodeIssue]:
    """Let LiteRT build and prepare the model; what it refuses is an issue of the ONNX node it was made for."""
    return opened(content, operators)[1]


def opened(file: bytes | Path, operators: Sequence[Operator]) -> tuple[Interpreter | None, list[NodeIssue]]:
    """The interpreter of a file or its content, ready to run, or why LiteRT refuses it."""
    try:
        interpreter = open_file(file)
        resize(interpreter)
        return interpreter, []
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        found = _FAILED_NODE.search(reason)
        origin = operators[int(found[1])].origin if found and int(found[1]) < len(operators) else ""
        return None, [NodeIssue(origin, "", f"LiteRT refuses the file: {reason}")]


def resize(interpreter: Interpreter) -> None:
    """Let LiteRT prepare batches of several sizes, where the file leaves the batch open.

    Raises:
        RuntimeError: it refuses one.
    """
    inputs = interpreter.get_input_details()
    if not any((one["shape_signature"] < 0).any() for one in inputs):
        return
    for size in (*SIZES, 1):
        for one in inputs:
            shape = [size if dim < 0 else int(dim) for dim in one["shape_signature"]]
            interpreter.resize_tensor_input(one["index"], shape)
        interpreter.allocate_tensors()


@dataclass
class Part:
    """A file beside its final name: `keep` gives it that name when it is closed."""

    path: Path
    kept: bool = False

    def keep(self) -> None:
        """Let it stay."""
        self.kept = True


@contextmanager
def part_of(target: Path, pieces: list[memoryview | bytes]) -> Iterator[Part]:
    """Write `pieces`, which are used up, beside the final name, then rename that if it is kept; else nothing stays."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    part = Part(Path(name))
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(pieces)
        pieces.clear()
        yield part
        if part.kept:
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, target)
    except BaseException:
        part.kept = False
        raise
    finally:
        if not part.kept:
            os.unlink(name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
