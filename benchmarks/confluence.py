"""Whether the order in which rules meet matters: node counts of models with the rules shuffled.

    python benchmarks/confluence.py [--seeds 3] MODEL or FOLDER ...

Each model goes through the default recipe with the rules of canonicalize and fuse in their order, and in other orders.
Exit code 1 where a count differs.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from unittest import mock

from graphopt import optimize
from graphopt.ir import count_nodes
from graphopt_passes.canonicalize import canonicalize
from graphopt_passes.fuse import fuse


def nodes(model: Path, seed: int | None) -> int:
    """Nodes after the default recipe; a seed shuffles the rules."""
    orders = [list(canonicalize.RULES), list(fuse.RULES)]
    if seed is not None:
        for order in orders:
            random.Random(seed).shuffle(order)
    with mock.patch.object(canonicalize, "RULES", tuple(orders[0])), mock.patch.object(fuse, "RULES", tuple(orders[1])):
        return count_nodes(optimize(model, verify="off").model)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    files = [f for path in given.models for f in (sorted(path.glob("*.onnx")) if path.is_dir() else [path])]
    differ = 0
    for file in files:
        counts = [nodes(file, seed) for seed in (None, *range(given.seeds))]
        differ += len(set(counts)) > 1
        print(f"{file.stem:32} {' '.join(map(str, counts))}{'  differs' if len(set(counts)) > 1 else ''}", flush=True)
    print(f"{len(files)} models, {differ} whose count depends on the order of rules")
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main())
