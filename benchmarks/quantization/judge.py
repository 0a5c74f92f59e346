"""How near a quantized model is to the float one on N held-out samples, and how fast: judge.py FLOAT QUANTIZED N."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import data
import numpy as np
import onnxruntime as ort

ort.set_default_logger_severity(4)
_SECONDS = 1.5


def session(path: Path, optimized: bool) -> ort.InferenceSession:
    """On one thread, so that latencies do not depend on what else runs."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def sqnr(wanted: list[np.ndarray], got: list[np.ndarray]) -> float:
    """dB over all floating-point outputs together."""
    pairs = [(a.astype(np.float64), b) for a, b in zip(wanted, got, strict=True) if a.dtype.kind == "f"]
    noise = sum(float(np.square(a - b).sum()) for a, b in pairs)
    return 10 * np.log10(max(sum(float(np.square(a).sum()) for a, _ in pairs), 1e-30) / max(noise, 1e-30))


def agrees(wanted: list[np.ndarray], got: list[np.ndarray]) -> float:
    """Share of the rows of the first output whose largest element is at the same place."""
    left, right = wanted[0], got[0]
    if left.dtype.kind != "f" or left.ndim < 2 or left.shape[-1] < 2:
        return float("nan")
    return float(np.mean(left.argmax(-1) == right.argmax(-1)))


def latency(
    one: ort.InferenceSession, other: ort.InferenceSession, sample: dict[str, np.ndarray]
) -> tuple[float, float]:
    """Milliseconds of both, the least of interleaved runs."""
    best = [float("inf")] * 2
    end = time.perf_counter() + 2 * _SECONDS
    while time.perf_counter() < end:
        for place, which in enumerate((one, other)):
            start = time.perf_counter()
            which.run(None, sample)
            best[place] = min(best[place], 1e3 * (time.perf_counter() - start))
    return best


def judge(model: Path, quantized: Path, count: int) -> dict[str, float]:
    """The measured numbers by name."""
    feeds = [data.sample(model, index, "judge") for index in range(count)]
    float_, integer = session(model, True), session(quantized, True)
    wanted = [float_.run(None, feed) for feed in feeds]
    got = [integer.run(None, feed) for feed in feeds]
    before, after = latency(float_, integer, feeds[0])
    return {
        "sqnr_db": float(np.mean([sqnr(a, b) for a, b in zip(wanted, got, strict=True)])),
        "agreement": float(np.mean([agrees(a, b) for a, b in zip(wanted, got, strict=True)])),
        "bytes": quantized.stat().st_size, "float_bytes": model.stat().st_size,
        "milliseconds": after, "float_milliseconds": before,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(judge(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
