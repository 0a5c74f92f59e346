"""LiteRT's verdict on one small model: taken, compiled, run and right are four separate answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt_backends.tflite.compiler import lower_file
from graphopt_backends.tflite.executor import open_file, run
from graphopt_backends.tflite.flatbuffer import Graph

TOLERANCE = {"float32": 1e-4, "float64": 1e-4, "float16": 2e-3}
"""Largest error of a float output, as a share of the range of the expected values; exact for integers and booleans.

For float16 it is two units in the last place (2·2⁻¹⁰): kernels round every step, and no rounding reaches 1e-4 there.
"""

QUANTIZED = 1e-2
"""The same where the model computes on codes: rounding to the neighboring one of 256 codes is 4e-3 of their range."""


def verdict(model: str, inputs: str, expected: str) -> dict[str, Any]:
    """Compile and run one model in this process.

    Args:
        model: an ONNX file.
        inputs: a .npz with its inputs by name.
        expected: a .npz with the outputs that are right, by name.

    Returns:
        "claimed": every operator has a lowering that takes it; "compiled": LiteRT prepared the file; "ran": it
        answered, None if it was not asked; "numerics": "pass" or "fail", None if it did not run; "error": the first
        complaint, on one line; "realized_as": the builtins.
    """
    lowered, issues = lower_file(model)
    answer: dict[str, Any] = {
        "claimed": lowered.content is not None,
        "compiled": lowered.content is not None and not issues,
        "ran": None,
        "numerics": None,
        "error": issues[0].reason if issues else "",
        "realized_as": [operator.builtin for operator in lowered.flat.operators] if lowered.content else [],
    }
    if lowered.content is None or issues:
        return answer
    with np.load(inputs, allow_pickle=False) as given, np.load(expected, allow_pickle=False) as wanted:
        try:
            found = run(open_file(lowered.content), {name: given[name] for name in given.files})
        except (RuntimeError, ValueError) as error:
            return answer | {"ran": False, "error": " ".join(str(error).split())}
        codes = on_codes(lowered.flat)
        reasons = {name: mismatch(wanted[name], found[name], codes=codes) for name in wanted.files}
        wrong = [f"{name}: {reason}" for name, reason in reasons.items() if reason]
    return answer | {"ran": True, "numerics": "fail" if wrong else "pass", "error": "; ".join(wrong)}


def on_codes(graph: Graph) -> bool:
    """Whether run-time tensors of a graph hold codes that stand for numbers."""
    tensors = (graph.tensors[tensor] for tensor in graph.used())
    return any(tensor.quantization is not None and tensor.data is None for tensor in tensors)


def mismatch(expected: np.ndarray, found: np.ndarray, *, codes: bool = False) -> str:
    """Why `found` is not `expected`, "" where it is; where a model computes on `codes`, one may be its neighbor."""
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return f"{found.dtype}{list(found.shape)} instead of {expected.dtype}{list(expected.shape)}"
    if expected.dtype.kind != "f":
        if codes and expected.dtype.kind in "iu" and expected.dtype.itemsize <= 2:
            wrong = int((np.abs(expected.astype(np.int32) - found.astype(np.int32)) > 1).sum())
        else:
            wrong = int((expected != found).sum())
        return f"{wrong} of {expected.size} elements differ" if wrong else ""
    special = ~np.isfinite(expected)
    if not np.array_equal(expected[special], found[special], equal_nan=True):
        return "NaN or infinity differs"
    if not np.isfinite(found[~special]).all():
        return "NaN or infinity where a number is expected"
    want, have = expected[~special].astype(np.float64), found[~special].astype(np.float64)
    if not want.size:
        return ""
    scale = max(want.max() - want.min(), np.abs(want).max(), np.finfo(np.float32).tiny)
    error = np.abs(want - have).max() / scale
    allowed = max(QUANTIZED if codes else 0.0, TOLERANCE[str(expected.dtype)])
    return f"error of {error:.2g} of the range" if error > allowed else ""
