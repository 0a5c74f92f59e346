"""graphopt's pruning beside that of onnxsim and Torch-Pruning, before and after recovery.

    python benchmarks/pruning FOLDER --peers ENVIRONMENT [--only NAMES] [--tools a,b] [--shares 0.9,0.7,0.5] [--write]

FOLDER holds the corpus (`python benchmarks/corpus FOLDER`), ENVIRONMENT is one in which requirements.txt is installed.
Every tool runs in a process of its own on the same calibration samples and prunes until the same share of the
multiply-accumulates is left; what it wrote is judged on samples that have nothing in common with these (data.py and
judge.py of the benchmark of quantization). What is there in bench-out/pruning is kept, so a run that was stopped goes
on. `--write` writes the tables and the picture of latencies beside this file.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import plot

from graphopt.errors import GraphoptError

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LIMIT = 900.0
Found = dict[str, dict[str, Any]]
"""What was measured, by "model share" and tool."""
MODELS = (
    "mobilenet_v2_imagenet", "efficientnet_lite0_imagenet", "opennsfw", "ppocrv2_cls", "mtcnn_onet", "mtcnn_pnet",
    "crepe_tiny", "oww_embedding", "dnsmos_sig_bak_ovr", "minilm_l6_v2", "attacut_sc", "lac_bigru", "resemblyzer_lstm",
)  # fmt: skip
OURS = {
    "graphopt": "", "graphopt: l2": ",criterion=l2", "graphopt: unfitted": ",recover=false",
    "graphopt: unfitted l2": ",criterion=l2,recover=false",
}  # fmt: skip
"""Options of the pass beside round_to=1, as the peers do it; the last is all that they do as well."""
PEERS = ("onnxsim", "onnxsim-wanda", "torch-pruning")
_NEAR = 0.05
"""How far from the share that was asked for counts as met."""


def _side() -> ModuleType:
    """The benchmark of quantization, for what both have in common."""
    folder = ROOT / "benchmarks" / "quantization"
    sys.path.append(str(folder))
    spec = importlib.util.spec_from_file_location("quantization", folder / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command(tool: str, share: float, model: Path, given: Path, target: Path, peers: Path, dims: list[str]) -> list[str]:
    """What makes the pruned model."""
    if tool in PEERS:
        words = [tool, model, given, target, share]
        return [str(peers / "bin" / "python"), str(HERE / "adapter.py"), *map(str, words)]
    graphopt = str(Path(sys.executable).parent / "graphopt")
    wanted = f"prune-channels:macs={share},round_to=1{OURS[tool]}"
    return [
        graphopt, "run", str(model), "-p", wanted, "--calibration", str(given), "-o", str(target),
        "--verify", "off", "--quiet", *dims,
    ]  # fmt: skip


def cost(model: Path, sample: dict[str, Any]) -> float:
    """Multiply-accumulates at the shapes of a sample."""
    from graphopt.channels.cost import Ledger, mac_terms
    from graphopt.channels.prune import Pruner
    from graphopt.ir import load

    seen = Pruner(load(model), [sample])
    return Ledger(seen.graph, mac_terms(seen.model, seen.graph)).total


def measured(tool: str, share: float, model: Path, out: Path, peers: Path, count: int) -> dict[str, Any]:
    """Prune and judge; `note` says what went wrong."""
    side = _side()
    given = side.calibration(model, ROOT / "bench-out" / "quantization", count)
    target, log = out / f"{model.stem}.onnx", out / "log.txt"
    target.unlink(missing_ok=True)
    timed = [sys.executable, "-I", "-S", str(ROOT / "benchmarks" / "peers" / "timed.py"), str(LIMIT), str(log)]
    made = command(tool, share, model, given, target, peers, side.dims_of(model))
    facts = json.loads(subprocess.run([*timed, *made], capture_output=True, text=True, check=True).stdout)
    found = {"cpu": facts["cpu"], "peak": facts["peak"]}
    if facts["code"] or not target.exists():
        return {**found, "note": side.last_line(log.read_text(errors="replace"))}
    sample = side.data.sample(model, 0, "judge")
    try:
        left = cost(target, sample) / max(cost(model, sample), 1)
    except GraphoptError as error:
        return {**found, "note": f"does not run: {error}"}
    if left > share + _NEAR:
        return {**found, "macs": left, "note": f"declines: {left:.1%} of the multiply-accumulates stay"}
    judge = [
        sys.executable,
        str(ROOT / "benchmarks" / "quantization" / "judge.py"),
        str(model),
        str(target),
        str(count),
    ]
    done = subprocess.run(judge, capture_output=True, text=True, check=False)
    if done.returncode:
        return {**found, "note": f"does not compute what the original does: {side.last_line(done.stderr)}"}
    verdict = json.loads(done.stdout.strip().splitlines()[-1])
    return {
        **found, "macs": left, **verdict,
        "latency_share": verdict["milliseconds"] / verdict["float_milliseconds"],
    }  # fmt: skip


def report(found: Found, count: int) -> str:
    """The tables as Markdown."""
    side = _side()
    names = sorted(found, key=lambda name: (MODELS.index(name.split()[0]), -float(name.split()[1])))
    found = {name: found[name] for name in names if found[name]}
    used = {tool for rows in found.values() for tool in rows}
    tools = [tool for tool in (*OURS, *PEERS) if tool in used]
    parts = {
        "SQNR in dB of the outputs, against the original": ("sqnr_db", 1, 1.0),
        "Agreement of the largest element, in %": ("agreement", 1, 100.0),
        "Multiply-accumulates that are left, in %": ("macs", 1, 100.0),
        "Latency in onnxruntime as a share of the original's, in %": ("latency_share", 0, 100.0),
        "Processor seconds": ("cpu", 1, 1.0),
        "Peak memory in MB": ("peak", 0, 1e-6),
    }
    lines = [
        "# Pruning of channels, side by side", "",
        f"{count} calibration samples and {count} others to judge by, nothing in common; no labels, no training.",
        "Behind a model: the share of multiply-accumulates asked for. `–`: no model that runs, or none with the share.",
        "`unfitted` is without recovery, `l2` is the criterion of the peers; all with round_to=1, as the peers.", "",
        "![Latency against work](latency.svg)", "", *summary(found, tools), "",
    ]  # fmt: skip
    for title, (key, digits, scale) in parts.items():
        lines += [f"## {title}", "", *side.table(found, tools, key, digits, scale), ""]
    notes = [
        f"- {name}, {tool}: {row['note']}"
        for name, rows in found.items()
        for tool, row in rows.items()
        if "note" in row
    ]
    return "\n".join([*lines, *(["## What went wrong", "", *notes, ""] if notes else [])])


def summary(found: Found, tools: list[str]) -> list[str]:
    """How often graphopt is ahead of each peer, before and after recovery, of the cases that both could do."""
    lines = ["| graphopt ahead of | SQNR | agreement at least |", "|---|---|---|"]
    for peer in (tool for tool in tools if tool in PEERS):
        for ours in ("graphopt: unfitted l2", "graphopt: unfitted", "graphopt: l2", "graphopt"):
            pairs = [
                (rows[ours], rows[peer])
                for rows in found.values()
                if "sqnr_db" in rows.get(ours, {}) and "sqnr_db" in rows.get(peer, {})
            ]
            if pairs:
                nearer = sum(a["sqnr_db"] > b["sqnr_db"] for a, b in pairs)
                alike = sum(not a["agreement"] < b["agreement"] for a, b in pairs)
                lines.append(f"| {peer}, with `{ours}` | {nearer} of {len(pairs)} | {alike} of {len(pairs)} |")
    return lines


def _ours(found: Found) -> list[tuple[str, dict[str, Any]]]:
    """What graphopt's defaults made, with the name of the model."""
    return [(name.split()[0], rows["graphopt"]) for name, rows in found.items() if "graphopt" in rows]


def main() -> None:
    """Measure what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peers", type=Path, default=Path(sys.prefix))
    parser.add_argument("--only", default=",".join(MODELS))
    parser.add_argument("--tools", default=",".join((*OURS, *PEERS)))
    parser.add_argument("--shares", default="0.9,0.7,0.5")
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    out = ROOT / "bench-out" / "pruning"
    out.mkdir(parents=True, exist_ok=True)
    store = out / "results.json"
    found: Found = json.loads(store.read_text()) if store.exists() else {}
    for name in given.only.split(","):
        model = given.folder / f"{name}.onnx"
        for share in map(float, given.shares.split(",") if model.exists() else ()):
            rows = found.setdefault(f"{name} {share:g}", {})
            for tool in given.tools.split(","):
                if tool in rows:
                    continue
                rows[tool] = measured(tool, share, model, out, given.peers, given.samples)
                print(name, share, tool, rows[tool], file=sys.stderr, flush=True)
                store.write_text(json.dumps(found, indent=1))
    text = report(found, given.samples)
    print(text)
    if given.write:
        (HERE / "results.md").write_text(text)
        (HERE / "results.json").write_text(json.dumps(found, indent=1) + "\n")
        points = [(row["macs"], row["latency_share"], name) for name, row in _ours(found) if "latency_share" in row]
        (HERE / "latency.svg").write_text(plot.scatter(points))


if __name__ == "__main__":
    main()
