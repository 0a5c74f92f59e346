"""Can every model be pruned to 90, 70 and 50 % of its multiply-accumulates? Validity alone, no fitting.

    python benchmarks/pruning/sweep.py FOLDER … [--only NAMES] [--criterion l2] [--write]

FOLDER holds NAME.onnx with NAME.json (`python benchmarks/corpus`). Each model goes through the default pipeline, is
pruned on copies, checked by the onnx checker and run in onnxruntime; `--write` writes sweep.md beside this file.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import onnx_ir as ir

import graphopt
from graphopt.channels.prune import Pruner, Request
from graphopt.pipeline.soundness import complaint_of
from graphopt.verify import ExecutionFailed, run

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "quantization"))
SHARES = (0.9, 0.7, 0.5)


def swept(path: Path, criterion: Any) -> list[str]:
    """A row of the table: what is left for each share, and what stands in the way."""
    import data

    sample = data.sample(path, 0, "calibrate")
    shapes = {name: array.shape for name, array in sample.items()}
    model = graphopt.optimize(path, dims=shapes, verify="off", compile=False).model
    sample = {value.name: sample[value.name] for value in model.graph.inputs if value.name in sample}
    samples = [sample] if _runs(model, sample) else []
    complaint = complaint_of(model)
    cells, notes, start = [], dict[str, None](), time.perf_counter()
    pruner = Pruner(model, samples, shapes)
    for share in SHARES:
        outcome = pruner.prune(Request(share, criterion=criterion, recovery=False))
        sound = complaint_of(outcome.model) == complaint and (not samples or _runs(outcome.model, sample))
        cells.append(f"{outcome.left:.1%}" if sound else "invalid")
        notes.update(dict.fromkeys(outcome.limits))
    seconds = (time.perf_counter() - start) / len(SHARES)
    return [path.stem, *cells, f"{seconds:.1f}", "; ".join(notes)]


def _runs(model: ir.Model, sample: dict[str, Any]) -> bool:
    try:
        run(model, [sample])
    except ExecutionFailed:
        return False
    return True


def main() -> None:
    """Sweep, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--only", default="")
    parser.add_argument("--criterion", default="l2")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    heads = ["model", *(f"{share:.0%} asked" for share in SHARES), "seconds", "what stands in the way"]
    rows = [heads, ["---"] * len(heads)]
    for path in sorted(path for folder in given.folders for path in folder.glob("*.onnx")):
        if not given.only or path.stem in given.only.split(","):
            rows.append(swept(path, given.criterion))
            print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    text = "\n".join(
        ["# Multiply-accumulates left, for what was asked", "", *(f"| {' | '.join(row)} |" for row in rows)]
    )
    print(text)
    if given.write:
        (HERE / "sweep.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
