"""QNN's verdict on one small model: claimed, compiled, ran, right. Called many times in one process, for one chip."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from graphopt_backends.snpe import dlc
from graphopt_backends.snpe.compiler import explain, undefined_dims
from graphopt_backends.snpe.executor import run
from graphopt_backends.snpe.numerics import compare
from graphopt_backends.snpe.session import PROVIDER, assignment, open_session, read, write_dlc
from graphopt_backends.snpe.targets import DEFAULT

_QUANTIZERS = ("QuantizeLinear", "DynamicQuantizeLinear", "QLinear")


def verdict(model: str, inputs: str, expected: str) -> dict[str, Any]:
    """Ask QNN about one model, on the chip `targets.DEFAULT`.

    Args:
        model: an ONNX file.
        inputs: `.npz` of the inputs by name.
        expected: `.npz` of the right outputs by name.

    Returns:
        claimed (None: onnxruntime did not get so far), compiled, ran, numerics, error on one line, realized_as (the op
        types in the `.dlc`), artifact (whether a single `.dlc` was written).
    """
    answer: dict[str, Any] = {
        "claimed": None, "compiled": False, "ran": None, "numerics": None, "error": "", "realized_as": [],
        "artifact": False,
    }  # fmt: skip
    path, soc = Path(model), DEFAULT.model
    proto = read(path)
    if open_dims := undefined_dims(proto):
        return answer | {"claimed": False, "error": open_dims[0].reason}
    with tempfile.TemporaryDirectory(prefix="graphopt-probe-") as folder:
        log = Path(folder, "log")
        try:
            session = open_session(proto, soc, folder=path.parent, log=log)
        except Exception as error:  # noqa: BLE001 - whatever onnxruntime raises is the verdict
            issues = explain(str(error), proto, soc, folder=path.parent, log=log, toolchain="onnxruntime-qnn")
            reasons = "; ".join(dict.fromkeys(issue.reason for issue in issues))
            return answer | {"claimed": _claimed(str(error)), "error": reasons[:600]}
        if PROVIDER not in assignment(session):
            return answer | {"error": "onnxruntime folds the whole model away"}
        answer |= {"claimed": True, "compiled": True}
        try:
            with np.load(inputs) as stored:
                feed = {value.name: stored[value.name] for value in session.get_inputs()}
            outputs = run(session, feed, log)
        except Exception as error:  # noqa: BLE001 - as above
            return answer | {"ran": False, "error": " ".join(str(error).split())[:600]}
        names = [value.name for value in session.get_outputs()]
        quantized = any(node.op_type.startswith(_QUANTIZERS) for node in proto.graph.node)
        wrong = _disagreement(dict(zip(names, outputs, strict=True)), expected, quantized)
        answer |= {"ran": True, "numerics": "fail" if wrong else "pass", "error": wrong}
        return answer | _artifact(proto, path.parent, log, Path(folder, "dlc"))


def _claimed(message: str) -> bool | None:
    """Whether QNN took the nodes of a session that did not open; None where onnxruntime did not get so far."""
    if "assigned to the default CPU EP" in message or "NOT_IMPLEMENTED" in message:
        return False
    return True if "EP_FAIL" in message or "QNN" in message else None


def _artifact(proto: onnx.ModelProto, folder: Path, log: Path, out: Path) -> dict[str, Any]:
    try:
        files = write_dlc(proto, DEFAULT.model, folder=folder, log=log, out=out)
    except Exception as error:  # noqa: BLE001 - a DLC that cannot be written is the verdict
        return {"artifact": False, "error": " ".join(str(error).split())[:600]}
    kinds = [op.type for file in files for graph in dlc.read(file).graphs for op in graph.ops]
    return {"artifact": len(files) == 1, "realized_as": kinds}


def _disagreement(outputs: dict[str, np.ndarray], expected: str, quantized: bool) -> str:
    """Why the outputs are wrong, "" where all agree."""
    with np.load(expected) as right:
        for name, got in outputs.items():
            if name in right and (why := compare(got, right[name], quantized=quantized)):
                return f"{name}: {why}"
    return ""
