"""onnxruntime itself: open, run, write. Imported in child processes alone, and by the prober."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort

LEVELS = {"none": "ORT_DISABLE_ALL", "basic": "ORT_ENABLE_BASIC", "extended": "ORT_ENABLE_EXTENDED",
          "all": "ORT_ENABLE_ALL"}  # fmt: skip
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def open_session(model: str, *, level: str = "all", threads: int = 0, provider: str = "cpu",
                 write: str = "") -> ort.InferenceSession:  # fmt: skip
    """A session on a file.

    Args:
        model: an .onnx or .ort file.
        level: which optimizations onnxruntime does: none, basic, extended, all.
        threads: for one operator; 0 leaves it to onnxruntime.
        provider: cpu or cuda; what CUDA does not take runs on the CPU.
        write: where to write the model as it was optimized, as .onnx or .ort after its suffix; "" for nowhere.

    Raises:
        RuntimeError: this onnxruntime has no such provider.
    """
    wanted = PROVIDERS[provider]
    if wanted not in ort.get_available_providers():
        raise RuntimeError(f"this onnxruntime has no {wanted}: it has {', '.join(ort.get_available_providers())}")
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, LEVELS[level])
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    if write:
        options.optimized_model_filepath = write
        if write.endswith(".ort"):
            options.add_session_config_entry("session.save_model_format", "ORT")
    return ort.InferenceSession(model, options, providers=list(dict.fromkeys([wanted, PROVIDERS["cpu"]])))


def run(session: ort.InferenceSession, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    """Outputs by name; inputs that the model does not have are left out."""
    names = [value.name for value in session.get_inputs()]
    answers = session.run(None, {name: inputs[name] for name in names if name in inputs})
    return dict(zip([value.name for value in session.get_outputs()], map(np.asarray, answers), strict=True))
