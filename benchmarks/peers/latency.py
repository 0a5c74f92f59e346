"""How fast onnxruntime runs what each tool made, with all its own optimizations on, as a ratio to the original.

    make bench-latency      or      python benchmarks/peers/latency.py FOLDER [--only NAMES] [--rounds 15]

Reads the models that `python benchmarks/peers` left in bench-out. All forms of a model are loaded in one process and
take turns, so that what the machine does beside hits all alike; a ratio is the median over the rounds of a form's time
÷ the original's in the same round. The table is printed; `--write` also writes latency.md and .json beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contenders import OURS
from results import geometric_mean, right
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
BENCHMARKS = HERE.parent
OUT = BENCHMARKS.parent / "bench-out"
THREADS, SLICE = 2, 0.05
"""Threads of onnxruntime, and about how many seconds one turn of a form lasts."""
NOISE = 0.05


def runner(path: Path, feeds: dict[str, Any]) -> Callable[[], object]:
    """A call that runs a model once."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 4
    # The threads of a form that ran must not go on waiting for work while another form runs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = {value.name: feeds[value.name] for value in session.get_inputs() if value.name in feeds}
    return lambda: session.run(None, given)


def turn(call: Callable[[], object], times: int) -> float:
    """Seconds of one run, the mean of several."""
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


def measure(model: Path, forms: dict[str, Path], rounds: int) -> dict[str, Any]:
    """Seconds of the original, and the ratio of each form."""
    from samples import inputs_of

    feeds = inputs_of(model)
    calls = {"": runner(model, feeds)}
    for name, path in forms.items():
        calls[name] = runner(path, feeds)
    times = {name: max(1, int(SLICE / max(turn(call, 2), 1e-6))) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        order = list(calls) if number % 2 else list(reversed(calls))
        for name in order:
            seconds[name].append(turn(calls[name], times[name]))
    base = seconds.pop("")
    ratios = {n: statistics.median(a / b for a, b in zip(s, base, strict=True)) for n, s in seconds.items()}
    return {"model": model.stem, "seconds": statistics.median(base), "ratios": ratios}


def rows(found: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells, the geometric means last."""
    names = list(dict.fromkeys(name for one in found for name in one["ratios"]))
    cells = []
    for one in found:
        ratios = (one["ratios"].get(name) for name in names)
        cells.append([one["model"], f"{1000 * one['seconds']:.2f}", *("" if r is None else f"{r:.3f}" for r in ratios)])
    means = [geometric_mean(o["ratios"][n] for o in found if n in o["ratios"]) for n in names]
    cells.append(["geometric mean", "", *(f"{mean:.3f}" for mean in means)])
    return ["model", "ms", *names], cells


def ask(model: Path, given: argparse.Namespace) -> dict[str, Any] | None:
    """Measure one model in a process of its own."""
    file = given.out / "json" / f"{model.stem}.json"
    if not file.exists():
        return None
    entries = json.loads(file.read_text(encoding="utf-8"))["tools"]
    forms = {name: str(given.out / "models" / model.stem / name / "model.onnx") for name in entries}
    forms = {name: path for name, path in forms.items() if right(entries[name]) and Path(path).exists()}
    command = [sys.executable, __file__, str(model), "--forms", json.dumps(forms), "--rounds", str(given.rounds)]
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS / "corpus")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        words = (done.stderr.strip().splitlines() or ["ended by a signal"])[-1][:200]
        print(f"{model.stem}: {words}", file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="+", help="folders of the corpus")
    parser.add_argument("--out", type=Path, default=OUT / "peers-results")
    parser.add_argument("--only", default="", help="models, separated by commas: beginnings of names")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--forms", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.forms:
        forms = {name: Path(path) for name, path in json.loads(given.forms).items()}
        print(json.dumps(measure(given.folder[0], forms, given.rounds)))
        return 0
    models = [m for folder in given.folder for m in sorted(folder.glob("*.onnx"))]
    if given.only:
        models = [m for m in models if any(m.stem.startswith(one) for one in given.only.split(","))]
    found = [one for model in models if (one := ask(model, given)) is not None]
    titles, cells = rows(found)
    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, justify="left" if title == "model" else "right", no_wrap=True)
    for line in cells:
        table.add_row(*line)
    Console(highlight=False, width=140).print(table)
    if given.write:
        (HERE / "latency.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
        what = "onnxruntime, all its optimizations on, two threads; seconds ÷ the original's, medians of turns."
        head = f"# Latency\n\n{what}\n"
        lines = ["| " + " | ".join(titles) + " |", "|---|" + "--:|" * (len(titles) - 1)]
        lines += ["| " + " | ".join(line) + " |" for line in cells]
        (HERE / "latency.md").write_text(head + "\n" + "\n".join(lines) + "\n", encoding="utf-8")
    ours = [one for one in found if OURS in one["ratios"]]
    more = [one["model"] for one in ours if one["ratios"][OURS] > min(one["ratios"].values()) + NOISE]
    print(f"more than {NOISE} above the best peer: {', '.join(more) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
