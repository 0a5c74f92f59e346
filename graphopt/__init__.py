"""graphopt takes ONNX models wholly onto TFLite, TensorRT and SNPE: rewrite, check, compile, and say what it cost.

import graphopt
result = graphopt.optimize("model.onnx", backend="tflite", output="model.opt.onnx")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphopt.api import Data, Result, check, optimize
    from graphopt.errors import GraphoptError, ModelError, UserError
    from graphopt.ir import load, save

# The module of each public name. They are imported on first use: `graphopt --help` must not wait for onnx.
_HOMES = {
    "Data": "api", "GraphoptError": "errors", "ModelError": "errors", "Result": "api", "UserError": "errors",
    "check": "api", "load": "ir", "optimize": "api", "save": "ir",
}  # fmt: skip

__all__ = ["Data", "GraphoptError", "ModelError", "Result", "UserError", "check", "load", "optimize", "save"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("graphopt")
    if name not in _HOMES:
        raise AttributeError(f"module 'graphopt' has no attribute {name!r}")
    return getattr(importlib.import_module(f"graphopt.{_HOMES[name]}"), name)
