"""graphopt side by side with onnxsim, onnxslim, onnxoptimizer, onnxscript and onnxruntime, each from the command line.

    make bench-peers      or      python benchmarks/peers FOLDER [--only NAMES] [--limit N] [--repeat 5] [--tools a,b]

FOLDER holds the corpus (`python benchmarks/corpus FOLDER`); synthetic graphs are made here. Every tool runs in a
process of its own, in turn, `--repeat` times; nodes, bytes, seconds, memory and the largest difference of an output on
real inputs go to bench-out/peers-results, one JSON file a model. What is there is kept, so a run that was stopped goes
on; `--tools graphopt` measures one tool again. The table is printed; `--write` writes it beside this file as well.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import contenders
import onnx
import results

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
SAMPLES = 3


def count(graph: onnx.GraphProto) -> int:
    """Nodes with those of bodies, Constant not counted."""
    inner = (a.g for n in graph.node for a in n.attribute if a.HasField("g"))
    many = (g for n in graph.node for a in n.attribute for g in a.graphs)
    own = sum(node.op_type != "Constant" for node in graph.node)
    return own + sum(map(count, inner)) + sum(map(count, many))


def nodes_of(path: Path) -> int:
    """Nodes of a file, functions included."""
    model = onnx.load(path, load_external_data=False)
    inside = sum(n.op_type != "Constant" for function in model.functions for n in function.node)
    return count(model.graph) + inside


def bytes_in(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(file.stat().st_size for file in folder.iterdir())


def difference(model: Path, result: Path, limit: float) -> dict[str, Any]:
    """What `outputs` says; `broken` where the original runs and the result does not."""
    script = str(Path(__file__).with_name("outputs.py"))
    command = [sys.executable, script, str(model), "", str(SAMPLES)]
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS / "corpus")}
    answers = []
    for other in (result, model):
        command[3] = str(other)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False, env=environment)
        except subprocess.TimeoutExpired:
            return {"note": "running it took too long"}
        if not done.returncode:
            found = json.loads(done.stdout.strip().splitlines()[-1])
            if other is model:
                break
            return {"broken": found["error"]} if "error" in found else found
        answers.append((done.stderr.strip().splitlines() or ["ended by a signal"])[-1][:300])
    else:
        return {"note": f"the original does not run: {answers[-1]}"}
    return {"broken": answers[0]}


def measure(model: Path, out: Path, given: argparse.Namespace, old: dict[str, Any]) -> dict[str, Any]:
    """Run the tools on one model, in turn; what `old` holds of other tools stays."""
    data = model.with_name(f"{model.name}.data")
    found = {
        "model": model.stem, "nodes": nodes_of(model),
        "bytes": model.stat().st_size + (data.stat().st_size if data.exists() else 0),
        "tools": {k: v for k, v in old.get("tools", {}).items() if k not in given.tools},
    }  # fmt: skip
    runs: dict[str, list[contenders.Run]] = {name: [] for name in given.tools}
    commands = contenders.commands(given.peers)
    for _ in range(given.repeat):
        for name in given.tools:
            if runs[name] and runs[name][-1].code:
                continue
            folder = out / model.stem / name
            folder.mkdir(parents=True, exist_ok=True)
            for file in folder.iterdir():
                file.unlink()
            command = contenders.with_files(name, commands[name], model, folder / "model.onnx")
            runs[name].append(contenders.run(command, given.timeout))
    for name in given.tools:
        found["tools"][name] = entry = _entry(runs[name], out / model.stem / name)
        if not entry["error"]:
            entry.update(difference(model, out / model.stem / name / "model.onnx", given.timeout))
        entry.update({key: results.plain(value) for key, value in entry.items() if isinstance(value, str)})
    return found


def _entry(runs: list[contenders.Run], folder: Path) -> dict[str, Any]:
    facts = [asdict(run) for run in runs]
    entry: dict[str, Any] = {key: [round(fact[key], 3) for fact in facts] for key in ("seconds", "cpu")}
    entry["peak"] = max(run.peak for run in runs)
    entry["error"] = next((run.error for run in runs if run.code), "")
    file = folder / "model.onnx"
    if not entry["error"] and not file.exists():
        entry["error"] = "wrote nothing"
    if not entry["error"]:
        entry.update(nodes=nodes_of(file), bytes=bytes_in(folder))
    return entry


def parse() -> argparse.Namespace:
    """What the user asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="*", help="folders of the corpus")
    parser.add_argument("--peers", type=Path, default=ROOT / "bench-out" / "peers", help="the peers' environment")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-out" / "peers-results")
    parser.add_argument("--only", default="", help="models, separated by commas: beginnings of names")
    parser.add_argument("--limit", type=int, default=0, help="how many models")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each tool, in turn")
    parser.add_argument("--tools", default="", help="tools, separated by commas, to measure again")
    parser.add_argument("--timeout", type=float, default=300, help="seconds for one run")
    parser.add_argument("--show", action="store_true", help="only print what is there")
    parser.add_argument("--write", action="store_true", help="also write results.md and results.json beside this file")
    given = parser.parse_args()
    given.again = bool(given.tools)
    given.tools = given.tools.split(",") if given.tools else list(contenders.commands(given.peers))
    return given


def main() -> int:
    """Measure what is missing, show everything."""
    given = parse()
    kept = given.out / "json"
    kept.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, str(BENCHMARKS / "graphs.py"), str(given.out / "synthetic")], check=True)
    models = [m for folder in (*given.folder, given.out / "synthetic") for m in sorted(folder.glob("*.onnx"))]
    if given.only:
        models = [m for m in models if any(m.stem.startswith(one) for one in given.only.split(","))]
    models = models[: given.limit] if given.limit else models
    for number, model in enumerate(models, 1):
        file = kept / f"{model.stem}.json"
        old = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if given.show or (old and not given.again):
            continue
        print(f"{number} of {len(models)}: {model.stem}", file=sys.stderr, flush=True)
        found = measure(model, given.out / "models", given, old)
        file.write_text(json.dumps(found, indent=1), encoding="utf-8")
    chosen = {model.stem for model in models}
    found = [result for result in results.read(kept) if result["model"] in chosen]
    names = list(contenders.commands(given.peers))
    results.show(found, names)
    if given.write:
        here = Path(__file__).parent
        (here / "results.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
        machine = f"{platform.machine()}, Python {platform.python_version()}"
        (here / "results.md").write_text(results.markdown(found, names, machine), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
