"""OpenVINO itself: read, compile, run. Imported in child processes alone, and by the prober."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino as ov
from ml_dtypes import bfloat16


@functools.cache
def core() -> ov.Core:
    """OpenVINO's core; one a process."""
    return ov.Core()


def read(model: str) -> ov.Model:
    """An ONNX file, or OpenVINO's own, as OpenVINO's model.

    Raises:
        RuntimeError: OpenVINO has no place for an operator.
    """
    return core().read_model(model)


def compiled(model: ov.Model, device: str) -> ov.CompiledModel:
    """A model that a device has taken; floats are computed as float32, also where the CPU would rather not.

    Raises:
        RuntimeError: the device refuses.
    """
    hints: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"} if device == "CPU" else {}
    return core().compile_model(model, device, hints)


def run(ready: ov.CompiledModel, names: list[str], inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs by their ONNX names, which OpenVINO keeps in order, from inputs by theirs.

    Args:
        ready: the compiled model.
        names: of the outputs in the order of the ONNX file.
        inputs: by name; those that OpenVINO left out, since nothing reads them, are not given.
    """
    wanted = {name for port in ready.inputs for name in port.get_names()}
    answers = ready({name: array for name, array in inputs.items() if name in wanted})
    return {name: _own(answers[index], ready.outputs[index]) for index, name in enumerate(names)}


def _own(array: np.ndarray, port: Any) -> np.ndarray:
    """A copy that outlives the request, in its own type: OpenVINO hands out bfloat16 as float16."""
    return np.array(array).view(bfloat16) if port.element_type == ov.Type.bf16 else np.array(array)
