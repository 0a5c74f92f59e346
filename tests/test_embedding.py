"""graphopt inside other programs: threads, streams, silence."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import onnx
import onnx_ir as ir
import pytest

import graphopt

EXAMPLES = Path(__file__).parents[1] / "examples"


def network(width: int) -> onnx.ModelProto:
    """A layer with a double negation behind it."""
    proto = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        small (float[2,{width}] x) => (float[2,{width}] y) {{
            a = Relu(x)
            b = Neg(a)
            c = Neg(b)
            y = Add(c, x)
        }}""")
    proto.graph.name = f"width{width}"
    return proto


def test_it_may_be_called_from_several_threads_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    widths = range(3, 9)
    before = {width: network(width).SerializeToString() for width in widths}
    told: list[str] = []

    def work(width: int) -> graphopt.Result:
        return graphopt.optimize(before[width], on_progress=lambda name, position, count: told.append(name))

    with ThreadPoolExecutor(4) as pool:
        results = dict(zip(widths, pool.map(work, widths), strict=True))
    for width, result in results.items():
        assert result.report.status == "ok"
        assert result.report.verification.status == "passed"
        assert [node.op_type for node in result.model.graph] == ["Relu", "Add"]
        assert result.model.graph.name == f"width{width}"
    assert "canonicalize" in told
    assert capfd.readouterr() == ("", "")


def test_a_model_in_memory_is_left_as_it_is() -> None:
    model = network(3)
    before = model.SerializeToString()
    graphopt.optimize(model)
    assert model.SerializeToString() == before


def test_a_pipeline_of_a_shell_streams_the_model(tmp_path: Path) -> None:
    onnx.save(network(4), tmp_path / "m.onnx")
    line = f"cat m.onnx | {sys.executable} -m graphopt run - -o - -q > x.onnx"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [node.op_type for node in onnx.load(tmp_path / "x.onnx").graph.node] == ["Relu", "Add"]


def test_what_torch_returns_is_taken_as_it_is() -> None:
    program = SimpleNamespace(model=ir.from_proto(network(3)))  # an ONNXProgram has its model there
    result = graphopt.optimize(program)
    assert [node.op_type for node in result.model.graph] == ["Relu", "Add"]
    assert len(program.model.graph) == 4


def test_the_example_of_a_hook_optimizes_what_an_exporter_writes(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("after_export", EXAMPLES / "after_export.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)

    def export(width: int, *, output: Path) -> str:
        onnx.save(network(width), output / "a.onnx")
        onnx.save(network(width + 1), output / "b.onnx")
        return "done"

    assert example.optimized(export)(3, output=tmp_path) == "done"
    assert [len(onnx.load(tmp_path / name).graph.node) for name in ("a.onnx", "b.onnx")] == [2, 2]
