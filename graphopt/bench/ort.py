"""The runtime of .onnx files: onnxruntime on the CPU, as a deployment runs it, with its own optimizations."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

_LEVELS = {
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_CODES = {"bfloat16": 16, "float8_e4m3fn": 17, "float8_e4m3fnuz": 18, "float8_e5m2": 19, "float8_e5m2fnuz": 20}
"""Numbers of the element types that numpy lacks, as onnx.proto gives them."""


class Model:
    """A session and its inputs, which stay where they are from run to run."""

    note = ""

    def __init__(self, file: str, sample: Mapping[str, np.ndarray], threads: int, optimization: str) -> None:
        self._file, self._threads, self._level = file, threads, _LEVELS[optimization]
        self.runtime = f"onnxruntime {ort.__version__}, CPU"
        self._session = self._open(self._options())
        self._feeds, self._kept = {}, list[np.ndarray]()
        for value in self._session.get_inputs():
            if value.name in sample:
                self._feeds[value.name] = self._value(sample[value.name])
        self.signature = {
            value.name: [size if isinstance(size, int) else None for size in value.shape]
            for value in self._session.get_inputs()
        }
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self) -> object:
        """Run once."""
        return self._session.run_with_ort_values(self._names, self._feeds)

    def profile(self, runs: int) -> list[dict[str, Any]] | str:
        """Seconds of each operator in one run, by onnxruntime's own profiler, in a session of its own."""
        options = self._options()
        options.enable_profiling = True
        with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
            options.profile_file_prefix = str(Path(folder, "profile"))
            session = self._open(options)
            for _ in range(runs):
                session.run_with_ort_values(self._names, self._feeds)
            events = json.loads(Path(session.end_profiling()).read_text())
        total: dict[tuple[str, str], float] = defaultdict(float)
        for event in events:
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                name = event["name"].removesuffix("_kernel_time")
                total[name, event["args"].get("op_name", "")] += event["dur"] / 1e6
        return [{"name": n, "op_type": op, "seconds": seconds / runs} for (n, op), seconds in total.items()]

    def _options(self) -> ort.SessionOptions:
        options = ort.SessionOptions()
        options.graph_optimization_level = self._level
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Threads must not go on waiting for work while another model has its turn.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return options

    def _open(self, options: ort.SessionOptions) -> ort.InferenceSession:
        return ort.InferenceSession(self._file, options, providers=["CPUExecutionProvider"])

    def _value(self, array: np.ndarray) -> Any:
        code = _CODES.get(array.dtype.name)
        if code is None:
            return ort.OrtValue.ortvalue_from_numpy(array)
        self._kept.append(np.ascontiguousarray(array).view(np.uint16 if array.itemsize == 2 else np.uint8))
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(self._kept[-1], code)  # shares the memory


def open_model(file: str, sample: Mapping[str, np.ndarray], *, threads: int, optimization: str) -> Model:
    """Open an ONNX file for timing; see `graphopt.bench.worker.Running`."""
    return Model(file, sample, threads, optimization)
