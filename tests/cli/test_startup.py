"""What a run without verification waits for: nothing that it does not use."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.cli.lazily import load_lazily

SLOW = ("sympy", "onnxruntime", "pydantic", "rich", "jinja2", "networkx", "onnx_graphsurgeon", "onnx.reference")
"""Packages that take a tenth of a second or more to import and that a plain run does without."""


def imported(*command: str) -> set[str]:
    """The modules that a command imports, by what Python itself says."""
    done = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    # What is loaded lazily is created at once and filled on first use, when its own imports show.
    return set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr, flags=re.MULTILINE))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A Reshape to a shape that is computed from constants, a symbolic batch, a weight."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "first"], ["n"]),
        helper.make_node("Mul", ["two", "two"], ["four"]),
        helper.make_node("Concat", ["n", "four"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    weights = {"first": np.array([0]), "two": np.array([2]), "w": np.ones((4, 3), np.float32)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_run_without_verification_imports_nothing_slow(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    found = imported("-m", "graphopt", "run", str(model), "-o", str(out), "--verify", "off", "--quiet")
    assert [node.op_type for node in onnx.load(out).graph.node] == ["Reshape", "MatMul"], "shapes were folded"
    roots = {name.partition(".")[0] for name in found} | found
    assert "onnx_ir" in roots
    # Being created is not being loaded: sympy that is loaded imports mpmath.
    assert "mpmath" not in roots
    assert not roots.intersection(SLOW) - {"sympy"}


def test_help_does_not_wait_for_onnx() -> None:
    found = imported("-m", "graphopt", "--help")
    assert not {name.partition(".")[0] for name in found} & {"onnx", "onnx_ir", "numpy", *SLOW}


def test_what_is_loaded_lazily_works_when_it_is_used() -> None:
    work = """
from graphopt.cli.lazily import load_lazily
load_lazily()
import onnx_ir, sys
assert "mpmath" not in sys.modules
assert (onnx_ir.SymbolicDim("N") + 1).value == "N + 1"
assert "mpmath" in sys.modules
"""
    subprocess.run([sys.executable, "-c", work], check=True)


def test_a_module_that_is_missing_stays_missing() -> None:
    before = list(sys.meta_path)
    try:
        load_lazily(["no_such_module_of_anybody"])
        with pytest.raises(ModuleNotFoundError):
            __import__("no_such_module_of_anybody")
    finally:
        sys.meta_path[:] = before
