"""graphopt's .tflite files side by side with onnx2tf's, each made from the command line.

    make bench-onnx2tf      or      python benchmarks/onnx2tf FOLDER [--only NAMES] [--write]

FOLDER holds the corpus (`python benchmarks/corpus FOLDER`), where NAME.json beside a model gives the shapes of its
inputs. Each tool runs in a process of its own; what it took, and what its file computes and takes in LiteRT, goes to
bench-out/onnx2tf-results, one JSON file a model. What is there is kept, so a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS / "peers"))

import contenders  # noqa: E402
import results  # noqa: E402

SAMPLES, ROUNDS, RIGHT = 2, 15, 1e-4
"""Right is a largest error of 1e-4 of an output's range."""
_CALIBRATION = "calibration_image_sample_data_20x128x128x3_float32.npy"
"""A file that onnx2tf fetches from the network where it is not in the working folder."""


def shapes(model: Path) -> dict[str, list[int]]:
    """Shapes of inputs, from the file beside the model."""
    told = json.loads(model.with_suffix(".json").read_text(encoding="utf-8"))["inputs"]
    return {name: one["shape"] for name, one in told.items() if one.get("shape")}


def commands(model: Path, out: Path, peer: Path) -> dict[str, list[str]]:
    """How each tool is called."""
    sizes = shapes(model)
    dims = [f"--dim={name}={'x'.join(map(str, shape))}" for name, shape in sizes.items()]
    pins = [f"{name}:{','.join(map(str, shape))}" for name, shape in sizes.items()]
    ours = [str(Path(sys.executable).parent / "graphopt"), "run", str(model), "-b", "tflite", "--verify", "off"]
    theirs = str(copy(model, out / "input"))  # onnx2tf writes what it simplified over the file that it is given
    return {
        "graphopt": [*ours, "--samples", "0", "--io-layout", "nhwc", *dims, "-q", "-o", f"{out / 'graphopt'}/"],
        "onnx2tf": [str(peer / "bin" / "onnx2tf"), "-i", theirs, "-o", str(out / "onnx2tf"), "-ois", *pins],
    }


def copy(model: Path, folder: Path) -> Path:
    """A copy of a model with its external data."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in model.parent.glob(f"{model.name}*"):
        shutil.copy(file, folder / file.name)
    return folder / model.name


def measure(model: Path, out: Path, given: argparse.Namespace, old: dict[str, Any]) -> dict[str, Any]:
    """Both tools on one model, or those that are to be measured again."""
    found: dict[str, Any] = {"model": model.stem, "tools": {}}
    made: dict[str, Path] = {}
    for name, command in commands(model, out, given.peer).items():
        (out / name).mkdir(parents=True, exist_ok=True)
        if name in given.tools or name not in old.get("tools", {}):
            run = contenders.run(command, given.timeout)
            entry = {"seconds": run.seconds, "cpu": run.cpu, "peak": run.peak, "error": results.plain(run.error)}
        else:
            entry = {key: old["tools"][name][key] for key in ("seconds", "cpu", "peak", "error")}
        files = sorted((out / name).glob("*float32.tflite" if name == "onnx2tf" else "*.tflite"))
        if files:
            made[name], entry["bytes"] = files[0], files[0].stat().st_size
        found["tools"][name] = entry
    script = [sys.executable, str(Path(__file__).with_name("litert.py")), str(model), str(SAMPLES), str(ROUNDS)]
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS / "corpus")}
    order = [str(file) for file in made.values()]
    done = subprocess.run([*script, *order], capture_output=True, text=True, check=False, env=environment)
    answers = json.loads(done.stdout.strip().splitlines()[-1]) if not done.returncode else {}
    for name, file in made.items():
        told = answers.get(str(file), {"error": (done.stderr.strip().splitlines() or ["ended by a signal"])[-1]})
        found["tools"][name].update({**told, "error": results.plain(str(told.get("error", "")))})
    return found


def right(entry: dict[str, Any]) -> bool:
    """Whether a tool's file computes the same."""
    return entry.get("worst", math.inf) <= RIGHT


def markdown(found: list[dict[str, Any]]) -> str:
    """Both tools, model by model, and what it comes to."""
    lines = [
        "# .tflite files beside onnx2tf's", "",
        "One run each on shared machines; both have images with their channels last, as onnx2tf does. Right: the",
        "largest error is at most 1e-4 of an output's range, on real inputs.",
        "Ratios, in geometric mean over the models that both converted rightly, are graphopt's over onnx2tf's.", "",
        "| model | right | | Transposes | | MB | | CPU s | | peak MB | | ms | |", "|---|" + "---|" * 12,
    ]  # fmt: skip
    for one in found:
        a, b = one["tools"]["graphopt"], one["tools"]["onnx2tf"]
        row = [one["model"], *(("yes" if right(t) else t["error"][:60] or "no") for t in (a, b))]
        for key, scale, digits in _COLUMNS:
            row += [f"{t[key] / scale:.{digits}f}" if right(t) and key in t else "" for t in (a, b)]
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |")
    both = [one["tools"] for one in found if all(right(t) for t in one["tools"].values())]
    counts = {name: sum(right(one["tools"][name]) for one in found) for name in ("graphopt", "onnx2tf")}
    lines += ["", f"Right: graphopt {counts['graphopt']} of {len(found)}, onnx2tf {counts['onnx2tf']}.", ""]
    for key, title in (("bytes", "size"), ("cpu", "CPU seconds"), ("peak", "peak memory"), ("milliseconds", "latency")):
        ratios = [t["graphopt"][key] / t["onnx2tf"][key] for t in both]
        if ratios:
            mean, worst = statistics.geometric_mean(ratios), max(ratios)
            lines.append(f"- {title}: {mean:.3f} in geometric mean, {worst:.3f} at worst")
    ours, theirs = (sum(t[name]["transposes"] for t in both) for name in ("graphopt", "onnx2tf"))
    lines.append(f"- Transposes: {ours} against {theirs}")
    return "\n".join(lines) + "\n"


_COLUMNS = (
    ("transposes", 1, 0),
    ("bytes", 1e6, 2),
    ("cpu", 1, 1),
    ("peak", 1e6, 0),
    ("milliseconds", 1, 2),
)


def main() -> int:
    """Measure what is missing, show everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="+", help="folders of the corpus")
    parser.add_argument("--peer", type=Path, default=ROOT / "bench-out" / "onnx2tf", help="onnx2tf's environment")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-out" / "onnx2tf-results")
    parser.add_argument("--only", default="", help="models, separated by commas: beginnings of names")
    parser.add_argument("--tools", default="", help="tools, separated by commas, to measure again")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one run")
    parser.add_argument("--write", action="store_true", help="also write results.md and results.json beside this file")
    given = parser.parse_args()
    models = [m for folder in given.folder for m in sorted(folder.glob("*.onnx")) if m.with_suffix(".json").exists()]
    if given.only:
        models = [m for m in models if any(m.stem.startswith(one) for one in given.only.split(","))]
    kept = given.out.resolve() / "json"
    kept.mkdir(parents=True, exist_ok=True)
    os.chdir(given.out)
    import numpy as np

    if not Path(_CALIBRATION).exists():
        np.save(_CALIBRATION, np.random.default_rng(0).random((20, 128, 128, 3), np.float32))
    found = []
    for number, model in enumerate(models, 1):
        file = kept / f"{model.stem}.json"
        old = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if not old or given.tools:
            print(f"{number} of {len(models)}: {model.stem}", file=sys.stderr, flush=True)
            made = measure(model.resolve(), kept.parent / "models" / model.stem, given, old)
            file.write_text(json.dumps(made, indent=1), encoding="utf-8")
        found.append(json.loads(file.read_text(encoding="utf-8")))
    text = markdown(found)
    print(text)
    if given.write:
        here = Path(__file__).parent
        (here / "results.md").write_text(text, encoding="utf-8")
        (here / "results.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
