"""graphopt's 8 bits beside those of onnxruntime, onnxsim, NNCF and AIMET, and what each of its methods buys.

    python benchmarks/quantization FOLDER --peers ENVIRONMENT [--only NAMES] [--tools a,b] [--samples 24] [--write]

FOLDER holds the corpus (`python benchmarks/corpus FOLDER`), ENVIRONMENT is one in which requirements.txt is installed.
Every tool runs in a process of its own on the same calibration samples; what it wrote is judged on samples that have
nothing in common with these (`data.py`), against the float model, in onnxruntime on one thread. What is there in
bench-out/quantization is kept, so a run that was stopped goes on. `--write` writes the tables beside this file.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import data
import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LIMIT = 900.0
Found = dict[str, dict[str, Any]]
"""What was measured, by model and tool."""
MODELS = (
    "mobilenet_v2_imagenet", "efficientnet_lite0_imagenet", "opennsfw", "ppocrv2_cls", "ppocrv4_det", "ppocrv4_rec",
    "mtcnn_onet", "mtcnn_pnet", "crepe_tiny", "oww_embedding", "dnsmos_sig_bak_ovr", "minilm_l6_v2", "attacut_sc",
)  # fmt: skip
PEERS = ("onnxruntime", "onnxruntime-percentile", "onnxsim", "nncf", "aimet")
OURS = "graphopt"
LADDER = ("min-max", "best ranges", "+ rounding", "+ bias correction")
"""What the pass measures on its own judging samples (a half of the calibration samples), from nothing to everything."""


def calibration(model: Path, folder: Path, count: int) -> Path:
    """The folder of a model's calibration samples, made where it is not there."""
    place = folder / f"{model.stem}-calibration-{count}"
    if not place.exists():
        place.mkdir(parents=True)
        for index in range(count):
            np.savez(place / f"{index:03}.npz", **data.sample(model, index, "calibrate"))
    return place


def dims_of(model: Path) -> list[str]:
    """What `--dim` has to say: the shapes that the samples have, of inputs whose file leaves any dimension open."""
    import onnx

    sample, words = data.sample(model, 0, "calibrate"), []
    for value in onnx.load(model, load_external_data=False).graph.input:
        shape = value.type.tensor_type.shape.dim
        if value.name in sample and any(not dim.HasField("dim_value") for dim in shape):
            words += ["--dim", f"{value.name}={'x'.join(map(str, sample[value.name].shape))}"]
    return words


def command(tool: str, model: Path, given: Path, target: Path, peers: Path) -> list[str]:
    """What makes the quantized model."""
    if tool != OURS:
        return [str(peers / "bin" / "python"), str(HERE / "adapter.py"), tool, str(model), str(given), str(target)]
    graphopt = str(Path(sys.executable).parent / "graphopt")
    return [
        graphopt, "run", str(model), "-p", "quantize", "--calibration", str(given), "-o", f"{target.with_suffix('')}/",
        "--verify", "off", "--quiet", *dims_of(model),
    ]  # fmt: skip


def ladder(report: Path) -> dict[str, float]:
    """What each method bought, as the pass wrote it down."""
    passes = json.loads(report.read_text(encoding="utf-8"))["passes"]
    told = next((one["metrics"].get("ladder", {}) for one in passes if one["name"] == "quantize"), {})
    rungs = dict.fromkeys(LADDER, -math.inf)
    for step, decibels in told.items():
        place = 3 if "bias" in step else 2 if "rounding" in step else 1
        for rung in LADDER[place:]:
            rungs[rung] = max(rungs[rung], decibels)
    return {**rungs, "min-max": told.get("minmax", math.nan)} if told else {}


def measured(tool: str, model: Path, out: Path, peers: Path, count: int) -> dict[str, Any]:
    """Quantize and judge; `note` says what went wrong."""
    given, target, log = calibration(model, out, count), out / f"{model.stem}.onnx", out / "log.txt"
    target.unlink(missing_ok=True)
    timed = [sys.executable, "-I", "-S", str(ROOT / "benchmarks" / "peers" / "timed.py"), str(LIMIT), str(log)]
    made = command(tool, model, given, target, peers)
    facts = json.loads(subprocess.run([*timed, *made], capture_output=True, text=True, check=True).stdout)
    found = {"cpu": facts["cpu"], "seconds": facts["seconds"], "peak": facts["peak"]}
    if tool == OURS and not facts["code"]:
        folder = target.with_suffix("")
        (folder / "model.onnx").replace(target)
        found["ladder"] = ladder(folder / "report.json")
    if facts["code"] or not target.exists():
        late = f"took more than {LIMIT:.0f} s" if facts["seconds"] >= LIMIT else ""
        return {**found, "note": late or last_line(log.read_text(errors="replace"))}
    judge = [sys.executable, str(HERE / "judge.py"), str(model), str(target), str(count)]
    done = subprocess.run(judge, capture_output=True, text=True, check=False)
    if done.returncode:
        return {**found, "note": f"does not run: {last_line(done.stderr)}"}
    return {**found, **json.loads(done.stdout.strip().splitlines()[-1])}


def last_line(text: str) -> str:
    """What a process said last."""
    return (text.strip().splitlines() or ["ended by a signal"])[-1][:160]


def number(value: float | None, digits: int = 1) -> str:
    """For a table."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def table(found: Found, tools: list[str], key: str, digits: int = 1, scale: float = 1.0) -> list[str]:
    """A row a model, a column a tool."""
    lines = [f"| model | {' | '.join(tools)} |", "|---" * (len(tools) + 1) + "|"]
    for model, rows in found.items():
        values = [rows.get(tool, {}).get(key) for tool in tools]
        cells = [number(None if value is None else value * scale, digits) for value in values]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return lines


def report(found: Found, count: int) -> str:
    """The tables as Markdown."""
    used = {tool for rows in found.values() for tool in rows}
    tools = [tool for tool in (OURS, *PEERS) if tool in used]
    rungs = {
        model: {rung: {"db": db} for rung, db in rows.get(OURS, {}).get("ladder", {}).items()}
        for model, rows in found.items()
    }
    lines = [
        "# Quantization to 8 bits, side by side", "",
        f"{count} calibration and {count} other samples to judge by; the same for all tools.",
        "`–`: the tool made no model that runs. Latencies are the least of interleaved runs; other work on the",
        "machine, as there was when the committed ones were taken, makes all of them longer.", "",
        "## SQNR in dB of the outputs, against float", "", *table(found, tools, "sqnr_db"),
        "", "## Agreement of the largest element, in %", "", *table(found, tools, "agreement", 1, 100),
        "", "## Size in KB", "", *table(found, tools, "bytes", 0, 1 / 1024),
        "", "## Latency in onnxruntime, ms, one thread", "", *table(found, [*tools], "milliseconds", 2),
        "", "## Processor seconds", "", *table(found, tools, "cpu"),
        "", "## Peak memory in MB", "", *table(found, tools, "peak", 0, 1e-6),
        "", "## What each method buys: SQNR in dB", "", *table(rungs, list(LADDER), "db"), "",
    ]  # fmt: skip
    notes = [
        f"- {model}, {tool}: {row['note']}"
        for model, rows in found.items()
        for tool, row in rows.items()
        if "note" in row
    ]
    return "\n".join([*lines, *(["## What went wrong", "", *notes, ""] if notes else [])])


def main() -> None:
    """Measure what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peers", type=Path, default=Path(sys.prefix))
    parser.add_argument("--only", default=",".join(MODELS))
    parser.add_argument("--tools", default="")
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--again", action="store_true", help="measure again what is there")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    out = ROOT / "bench-out" / "quantization"
    out.mkdir(parents=True, exist_ok=True)
    store = out / "results.json"
    found: Found = json.loads(store.read_text()) if store.exists() else {}
    for name in given.only.split(","):
        model = given.folder / f"{name}.onnx"
        for tool in given.tools.split(",") if given.tools else [OURS, *PEERS]:
            rows = found.setdefault(name, {})
            if not model.exists() or (tool in rows and not given.again):
                continue
            rows[tool] = measured(tool, model, out, given.peers, given.samples)
            store.write_text(json.dumps(found, indent=1) + "\n")
            print(name, tool, rows[tool].get("note") or f"{rows[tool]['sqnr_db']:.2f} dB", flush=True)
    print(report(found, given.samples))
    if given.write:
        (HERE / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (HERE / "results.md").write_text(report(found, given.samples), encoding="utf-8")


if __name__ == "__main__":
    main()
