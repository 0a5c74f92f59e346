"""How fast onnxruntime runs a pruned model, as a share of what the original takes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from graphopt.verify.execute import serialized
from graphopt.verify.types import Array

_SECONDS = 1.0
_LEAST = 5
"""Runs of each model, however long they take."""


def latency_share(original: ir.Model, pruned: ir.Model, sample: Mapping[str, Array]) -> float:
    """Latency of a model as a share of another's: the least of runs that take turns, optimized, on one thread."""
    sessions = [_session(model) for model in (original, pruned)]
    best = [float("inf")] * len(sessions)
    runs, end = 0, time.perf_counter() + _SECONDS
    while runs < _LEAST or time.perf_counter() < end:
        for place, session in enumerate(sessions):
            start = time.perf_counter()
            session.run(None, dict(sample))
            best[place] = min(best[place], time.perf_counter() - start)
        runs += 1
    return best[1] / max(best[0], 1e-9)


def _session(model: ir.Model) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    with serialized(model) as source:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
