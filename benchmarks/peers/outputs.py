"""What a result computes, compared with the original on real inputs: python outputs.py ORIGINAL RESULT SAMPLES.

With benchmarks/corpus on PYTHONPATH, for the inputs. Both run in onnxruntime with its own optimizations off; the answer
is one line of JSON. The difference of an output is its largest absolute one, also divided by the largest number in the
original's output.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from samples import inputs_of


def outputs(model: Path, samples: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """All outputs by name, one dictionary a sample."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    wanted = {value.name for value in session.get_inputs()}
    feeds = [{name: array for name, array in sample.items() if name in wanted} for sample in samples]
    return [dict(zip(names, session.run(names, feed), strict=True)) for feed in feeds]


def difference(expected: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """Largest absolute difference, and the same relative to the largest number expected; infinite where unlike."""
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return float("inf"), float("inf")
    if expected.dtype.kind not in "fiub" or not expected.size:
        return (0.0, 0.0) if np.array_equal(expected, found) else (float("inf"), float("inf"))
    a, b = expected.astype(np.float64), found.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    apart = np.where(same, 0.0, np.abs(a - b))
    worst = float(np.nan_to_num(apart, nan=np.inf).max())
    scale = float(np.abs(np.where(np.isfinite(a), a, 0)).max())
    return worst, worst / scale if scale else worst


def main() -> None:
    """Print the largest differences as JSON."""
    original, result, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    samples = [inputs_of(original, index) for index in range(count)]
    expected, found = outputs(original, samples), outputs(result, samples)
    pairs = [(sample[name], other.get(name)) for sample, other in zip(expected, found, strict=True) for name in sample]
    if any(other is None for _, other in pairs):
        print(json.dumps({"error": "an output is missing"}))
        return
    each = [difference(a, b) for a, b in pairs]
    print(json.dumps({"absolute": max(a for a, _ in each), "relative": max(r for _, r in each)}))


if __name__ == "__main__":
    main()
