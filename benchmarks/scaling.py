"""How the default pipeline scales with the size of the graph: seconds per 1,000 nodes, which must stay flat.

    make bench        or        python benchmarks/scaling.py [--sizes 1000,10000,100000]

Measured is what `graphopt run` does between reading and writing the file, without executing the models (onnxruntime's
own time to open a graph of 100,000 nodes would drown it). Exit code 1 where the largest size takes more than 1.5 times
as long per node as the smallest from 10,000 on, or 10,000 nodes take more than 3 seconds.
"""

from __future__ import annotations

import argparse
import sys
import time

from graphs import KINDS
from rich.console import Console
from rich.table import Table

from graphopt.api import DEFAULT_RECIPE
from graphopt.ir import count_nodes, load
from graphopt.pipeline import Context, PassManager, Step
from graphopt.pipeline.recipe import parse

FLAT = 1.5
LIMIT = {10_000: 3.0}
BARS = 60


def measure(data: bytes) -> tuple[int, int, float]:
    """Nodes before, nodes after, and the seconds of the passes."""
    model = load(data)
    before = count_nodes(model)
    steps = [Step(*built) for built in parse(DEFAULT_RECIPE).build()]
    ready = [model]
    start = time.perf_counter()
    result = PassManager(steps, verify="off").run(lambda: ready.pop() if ready else load(data), Context())
    return before, count_nodes(result.model), time.perf_counter() - start


def plot(points: list[tuple[str, int, float]]) -> None:
    """Seconds per 1,000 nodes as bars: flat means that they are alike."""
    most = max(rate for _, _, rate in points)
    print("\nseconds per 1,000 nodes")
    for kind, nodes, rate in points:
        print(f"{kind:>6} {nodes:>8,} {'█' * round(BARS * rate / most)} {rate:.3f}")


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the fastest counts")
    given = parser.parse_args()
    sizes = [int(size) for size in given.sizes.split(",")]
    table = Table(box=None)
    for title in ("graph", "nodes", "after", "seconds", "per 1,000 nodes"):
        table.add_column(title, justify="left" if title == "graph" else "right")
    failures = []
    plotted: list[tuple[str, int, float]] = []
    for kind, make in KINDS.items():
        rates: dict[int, float] = {}
        for size in sizes:
            data = make(size).SerializeToString()
            runs = [measure(data) for _ in range(given.repeat if size < 100_000 else 1)]
            before, after, seconds = min(runs, key=lambda run: run[2])
            rates[size] = seconds / before * 1000
            plotted.append((kind, before, rates[size]))
            table.add_row(kind, f"{before:,}", f"{after:,}", f"{seconds:.2f}", f"{rates[size]:.3f}")
            if seconds > LIMIT.get(size, float("inf")):
                failures.append(f"{kind}: {before:,} nodes took {seconds:.2f} s, more than {LIMIT[size]} s")
        large = [rates[size] for size in sizes if size >= 10_000]
        if large and max(large) > FLAT * min(rates.values()):
            failures.append(
                f"{kind}: {max(large) / min(rates.values()):.2f} times as slow per node on the larger graph"
            )
    Console(highlight=False).print(table)
    plot(plotted)
    for failure in failures:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
