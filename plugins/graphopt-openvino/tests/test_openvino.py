"""OpenVINO as a backend: a model is compiled to its IR and runs there as it does in onnxruntime."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import graphopt


@pytest.fixture
def model() -> onnx.ModelProto:
    """A convolution on images of any size."""
    return onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        small (float[N,1,H,W] x) => (float[N,2,H,W] y)
        <float[2,1,1,1] w = {1.5, -2.0}, float[2] b = {0.5, -0.5}> {
            a = Conv(x, w, b)
            y = Relu(a)
        }""")


def test_a_model_compiles_to_ir_and_computes_the_same(model: onnx.ModelProto, tmp_path: Path) -> None:
    result = graphopt.optimize(model, backend="openvino:blob=true", output=tmp_path / "m.onnx")
    assert result.report.status == "ok", result.report.reason
    assert result.artifact == tmp_path / "m.xml"
    assert {"m.bin", "m.blob", "m.onnx", "m.xml"} <= {file.name for file in tmp_path.iterdir()}
    assert result.report.compile.execution.status == "passed"
    assert result.report.compile.toolchain.startswith("openvino 20")


def test_half_weights_halve_the_file(tmp_path: Path) -> None:
    big = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [256, 256], [0.5] * 65536)
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph([node], "g", [value("x", 1, [1, 256])], [value("y", 1, [1, 256])], [big])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    sizes = {}
    for half in ("false", "true"):
        output = tmp_path / f"{half}.onnx"
        result = graphopt.optimize(model, backend=f"openvino:half_weights={half}", output=output)
        assert result.report.status == "ok", result.report.reason
        sizes[half] = output.with_suffix(".bin").stat().st_size
    assert sizes["true"] * 2 == sizes["false"]


def test_what_openvino_lacks_is_refused_in_its_words(tmp_path: Path) -> None:
    odd = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17, "nobody" : 1]>
        odd (float[3] x) => (float[3] y) { y = nobody.Knows(x) }""")
    result = graphopt.optimize(odd, backend="openvino", verify="off", output=tmp_path / "m.onnx")
    assert (result.report.status, result.artifact) == ("rejected", None)
    assert "Knows" in result.report.reason


def test_the_table_was_measured() -> None:
    from graphopt_openvino.backend import OpenVINOBackend

    table = OpenVINOBackend().table()
    assert (table.evidence, table.toolchain.split()[0]) == ("measured", "openvino")
    assert {"Conv", "Gemm", "LSTM", "Loop"} <= {row.op_type for row in table.rows}
