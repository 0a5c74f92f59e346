"""Which model is faster, and is that more than noise? Each model in processes of its own, all taking turns.

    found = bench(["a.onnx", "b.onnx"])
    found.timings[0].median, found.comparisons[0].ratio, found.comparisons[0].verdict

`worker` runs in the child, `process` is the parent's handle on it, `measure` lets them take turns, `compare` decides.
"""

from graphopt.bench.compare import Comparison, compare
from graphopt.bench.measure import Benchmark, Timing, bench

__all__ = ["Benchmark", "Comparison", "Timing", "bench", "compare"]
