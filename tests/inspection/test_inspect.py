"""What is said of a model: counted by hand, and without reading weights."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.errors import ModelError, UserError
from graphopt.inspection import Inspection, inspect


def written(tmp_path: Path, text: str) -> Path:
    """A model file from ONNX's text syntax."""
    file = tmp_path / "m.onnx"
    onnx.save(onnx.parser.parse_model(text), file)
    return file


@pytest.fixture
def conv(tmp_path: Path) -> Inspection:
    """A convolution of 2 to 3 channels with a 1×1 kernel on 4×4 positions, then a Relu."""
    return inspect(
        written(
            tmp_path,
            """<ir_version: 8, opset_import: ["" : 17]>
            g (float[batch,2,4,4] x) => (float[batch,3,4,4] y)
            <float[3,2,1,1] w = {1, 2, 3, 4, 5, 6}> { c = Conv(x, w)  y = Relu(c) }""",
        ),
        dims={"batch": 5},
    )


def test_work_and_weights_are_counted_at_the_given_sizes(conv: Inspection) -> None:
    assert conv.sizes == {"x": (5, 2, 4, 4)}
    assert (conv.parameters, conv.weights) == (6, {"float32": 24})
    assert conv.macs == 5 * 3 * 4 * 4 * 2
    assert [(layer.op_type, layer.output, layer.parameters) for layer in conv.layers] == [
        ("Conv", "float32[5,3,4,4]", 6),
        ("Relu", "float32[5,3,4,4]", 0),
    ]


def test_the_signature_is_told_as_it_is_declared(conv: Inspection) -> None:
    assert conv.inputs == {"x": "float32[batch,2,4,4]"}
    assert conv.dynamic == {"x": ("batch",)}
    assert conv.as_json()["schema"] == "graphopt.inspect/1"


def test_the_peak_is_where_both_branches_are_alive(tmp_path: Path) -> None:
    found = inspect(
        written(
            tmp_path,
            """<ir_version: 8, opset_import: ["" : 17]>
            g (float[10] x) => (float[1] y) <int64[1] axes = {0}> {
                a = Relu(x)
                wide = Concat<axis = 0>(a, a, a)
                b = Neg(a)
                n = ReduceSum(wide, axes)
                m = ReduceSum(b, axes)
                y = Add(n, m)
            }""",
        )
    )
    # x is the caller's; a is alive until b is made, and wide is alive beside it.
    assert found.activation_peak == 4 * (10 + 10 + 30 + 10)
    assert found.peak_at == "-> b"
    assert found.unsized == 0


@pytest.mark.parametrize(
    ("body", "form"),
    [
        ("q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z)", "QDQ, activations int8"),
        ("w = DequantizeLinear(z, s)  y = Add(x, w)", "weights only, int8"),
        ("h = Cast<to = 10>(x)  y = Cast<to = 1>(h)", "float16 values"),
        ("y = Relu(x)", ""),
    ],
)
def test_the_form_of_quantization_is_named(tmp_path: Path, body: str, form: str) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[4] x) => (float[4] y) <float s = {{0.5}}, int8 z = {{3}}> {{ {body} }}"""
    assert inspect(written(tmp_path, text)).quantization == form


def test_nodes_inside_control_flow_are_layers_too(tmp_path: Path) -> None:
    found = inspect(
        written(
            tmp_path,
            """<ir_version: 8, opset_import: ["" : 17]>
            g (bool c, float[2,2] x) => (float[2,2] y) {
                y = If(c) <
                    then_branch = t () => (float[2,2] p) { p = MatMul(x, x) },
                    else_branch = e () => (float[2,2] q) { q = Neg(x) }>
            }""",
        )
    )
    assert found.subgraphs == 2
    assert found.operators == {"If": 1, "MatMul": 1, "Neg": 1}
    assert found.macs == 8


def test_weights_stay_on_disk(tmp_path: Path) -> None:
    size = 3 << 28  # 3 GiB of float32 in a file without a single block
    with (tmp_path / "w.bin").open("wb") as data:
        os.truncate(data.fileno(), 4 * size)
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 14, size >> 14])
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", str(4 * size))):
        weight.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1 << 14])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weight],
    )
    file = tmp_path / "big.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    before = _resident()
    found = inspect(file)
    assert _resident() - before < 100 << 20
    assert (found.parameters, found.macs) == (size, size)
    assert found.bytes == file.stat().st_size + 4 * size


def test_what_is_no_model_or_no_dimension_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no")
    with pytest.raises(ModelError, match="not an ONNX model"):
        inspect(tmp_path / "x.onnx")
    file = written(tmp_path, '<ir_version: 8, opset_import: ["" : 17]> g (float[n] x) => (float[n] y) { y = Relu(x) }')
    with pytest.raises(UserError, match="'m'"):
        inspect(file, dims={"m": 1})


def test_an_input_without_a_shape_leaves_what_is_not_known_open(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones((2, 3), np.float32), "w")],
    )
    file = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    found = inspect(file)
    assert (found.sizes, found.unknown, found.macs) == ({}, 1, 0)
    assert inspect(file, dims={"x": (4, 2)}).macs == 24


def _resident() -> int:
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])
