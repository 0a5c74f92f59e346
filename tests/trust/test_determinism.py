"""The same input gives the same bytes: whatever the hash seed, the number of threads, the folder and the place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

COMMANDS = {
    "neutral": ["-o", "{}/neutral/"],
    "tflite": ["-b", "tflite", "-o", "{}/tflite/"],
    "tensorrt": ["-b", "tensorrt", "--no-compile", "-o", "{}/tensorrt/"],
    "snpe": ["-b", "snpe", "--no-compile", "-o", "{}/snpe/"],
    "quantized": ["-b", "tflite", "-p", "quantize:scheme=w8a8", "-o", "{}/quantized/"],
    "pruned": ["-p", "prune-channels:ratio=0.5", "--verify", "off", "-o", "{}/pruned/"],
}
MANY = """
import os, sys
from graphopt.cli.main import main
if sys.argv[1] == "one":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
for line in sys.stdin.read().splitlines():
    sys.argv = ["graphopt", "run", *line.split()]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
"""


def _network(path: Path) -> None:
    rng = np.random.default_rng(7)
    weights = {
        "w1": rng.normal(size=(16, 3, 3, 3)), "b1": rng.normal(size=16), "w2": rng.normal(size=(16, 16, 3, 3)),
        "w3": rng.normal(size=(16, 10)), "b3": rng.normal(size=10),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Sigmoid", ["c2"], ["s2"]), helper.make_node("Mul", ["c2", "s2"], ["m2"]),
        helper.make_node("Add", ["m2", "r1"], ["a"]), helper.make_node("GlobalAveragePool", ["a"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]), helper.make_node("MatMul", ["f", "w3"], ["h"]),
        helper.make_node("Add", ["h", "b3"], ["l"]), helper.make_node("Softmax", ["l"], ["y"], axis=-1),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def _run_all(folder: Path, out: str, seed: str, threads: str) -> Path:
    """All commands in one fresh process; gives the folder that they wrote."""
    folder.mkdir()
    _network(folder / "net.onnx")
    lines = "\n".join(f"net.onnx -q {' '.join(words).format(out)}" for words in COMMANDS.values())
    count = "1" if threads == "one" else "4"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count}
    done = subprocess.run(
        [sys.executable, "-c", MANY, threads], cwd=folder, input=lines, text=True, env=environment,
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / out


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What two processes wrote that have nothing in common but the model."""
    top = tmp_path_factory.mktemp("determinism")
    return [_run_all(top / "a", "out", "1", "one"), _run_all(top / "another place", "results", "4242", "all")]


def _files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*.*")) if f.suffix != ".html"}


@pytest.mark.parametrize("name", COMMANDS)
def test_two_processes_write_the_same_bytes(twice: list[Path], name: str) -> None:
    first, second = (_files(out / name) for out in twice)
    first.pop("report.json"), second.pop("report.json")
    assert "model.onnx" in first
    assert ("model.tflite" in first) == (name in ("tflite", "quantized"))
    assert first.keys() == second.keys()
    assert [file for file in first if first[file] != second[file]] == []


def _timeless(told: Any, out: Path) -> Any:
    """A report without what differs between two runs of the same: times, memory, and where the files are."""
    if isinstance(told, dict):
        measured = ("seconds", "peak_rss_bytes")
        return {key: _timeless(value, out) for key, value in told.items() if key not in measured}
    if isinstance(told, list):
        return [_timeless(value, out) for value in told]
    return told.replace(f"{out.name}/", "OUT/") if isinstance(told, str) else told


@pytest.mark.parametrize("name", COMMANDS)
def test_two_reports_say_the_same_but_for_times(twice: list[Path], name: str) -> None:
    first, second = (_timeless(json.loads((out / name / "report.json").read_text()), out) for out in twice)
    assert first == second
