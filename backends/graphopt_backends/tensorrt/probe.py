"""TensorRT-RTX's verdict on one small model: claimed and compiled; nothing runs without a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from graphopt.support.backend import NodeIssue
from graphopt_backends.tensorrt import diagnose
from graphopt_backends.tensorrt.compiler import build, kinds
from graphopt_backends.tensorrt.network import ShapeInputError, builder, parse, ranges

TARGET = "sm89"
"""The capability that probes are built for: Ada, with no fp32 limits as Turing has. Other targets are not probed."""


def verdict(model: str, inputs: str, expected: str) -> dict[str, Any]:
    """Ask TensorRT-RTX about one model.

    Args:
        model: an ONNX file.
        inputs: `.npz` of the inputs by name: the sizes of dynamic dimensions and the values of shape inputs.
        expected: `.npz` of the outputs by name; not used, as nothing runs.

    Returns:
        claimed (the parser took it), compiled (an engine was built), ran and numerics (None: no GPU), error on one
        line, realized_as (the layer types of the network), artifact (whether there is an engine).
    """
    answer: dict[str, Any] = {
        "claimed": False, "compiled": False, "ran": None, "numerics": None, "error": "", "realized_as": [],
        "artifact": False,
    }  # fmt: skip
    path = Path(model)
    parsed = parse(path)
    proto = onnx.load(path, load_external_data=False)
    if not parsed.ok:
        return answer | {"error": _join(diagnose.parser_issues(parsed.parser, proto))}
    answer |= {"claimed": True, "realized_as": kinds(parsed)}
    try:
        with np.load(inputs) as stored:
            dynamic = ranges(parsed.network, dict(stored))
    except ShapeInputError as error:
        return answer | {"error": str(error)}
    plan = build(parsed, [TARGET], dynamic.profile if dynamic else None)
    if plan is None:
        issues = diagnose.build_issues(builder()[1].errors, parsed.layers(), diagnose.nodes(proto))
        return answer | {"error": _join(issues) or "TensorRT builds no engine and gives no reason"}
    return answer | {"compiled": True, "artifact": True}


def _join(issues: list[NodeIssue]) -> str:
    return "; ".join(dict.fromkeys(issue.reason for issue in issues))[:600]
