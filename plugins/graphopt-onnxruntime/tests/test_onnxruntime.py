"""onnxruntime as a backend: a model is optimized ahead of time, written, opened again and run."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import graphopt


@pytest.fixture
def model() -> onnx.ModelProto:
    """A layer whose batch is open."""
    return onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        small (float[N,3] x) => (float[N,2] y)
        <float[3,2] w = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}, float[2] b = {0.5, -0.5}> {
            a = MatMul(x, w)
            c = Add(a, b)
            y = Relu(c)
        }""")


@pytest.mark.parametrize("level", ["none", "basic", "all"])
def test_a_model_compiles_at_each_level_and_the_file_computes_the_same(
    model: onnx.ModelProto, tmp_path: Path, level: str
) -> None:
    result = graphopt.optimize(model, backend=f"onnxruntime:level={level},threads=1", output=tmp_path / "m.onnx")
    assert result.report.status == "ok", result.report.reason
    assert result.artifact == tmp_path / "m.ort"
    assert result.artifact.read_bytes()[4:8] == b"ORTM"
    assert result.report.compile.execution.status == "passed"


def test_what_onnxruntime_lacks_is_refused_in_its_words(tmp_path: Path) -> None:
    odd = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17, "nobody" : 1]>
        odd (float[3] x) => (float[3] y) { y = nobody.Knows(x) }""")
    result = graphopt.optimize(odd, backend="onnxruntime", verify="off", output=tmp_path / "m.onnx")
    assert (result.report.status, result.artifact) == ("rejected", None)
    assert "nobody" in result.report.reason


def test_a_provider_that_is_not_here_is_named(model: onnx.ModelProto, tmp_path: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    result = graphopt.optimize(model, backend="onnxruntime:provider=cuda", output=tmp_path / "m.onnx")
    assert result.report.status == "rejected"
    assert "has no CUDAExecutionProvider" in result.report.reason


def test_the_table_comes_from_this_kind_of_probe() -> None:
    from graphopt_onnxruntime.backend import OnnxruntimeBackend

    table = OnnxruntimeBackend().table()
    assert table.evidence == "measured"
    assert {"Conv", "Gemm", "LSTM", "Loop"} <= {row.op_type for row in table.rows}
