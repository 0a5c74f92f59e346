from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from graphopt_backends.tflite.backend import TFLiteBackend
from graphopt_backends.tflite.compiler import lower_file
from graphopt_backends.tflite.executor import open_file, run


def weight(array: np.ndarray, axis: int | None, most: int = 127) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes, scale and zero point of a symmetric weight."""
    others = tuple(one for one in range(array.ndim) if one != axis) if axis is not None else None
    scale = np.asarray(np.abs(array).max(others) / most, np.float32)
    spread = scale if axis is None else np.expand_dims(scale, others or ())
    return np.clip(np.rint(array / spread), -most, most).astype(np.int8), scale, np.zeros(scale.shape, np.int8)


@pytest.mark.parametrize("dtype", ["int8", "int4", "uint8"])
@pytest.mark.parametrize("op_type", ["Conv", "MatMul", "Gather"])
def test_weights_alone_stay_in_codes_and_numbers_are_computed_in_float(op_type, dtype, model, agrees, lowered, floats):
    shapes = {"Conv": (8, 4, 3, 3), "MatMul": (64, 16), "Gather": (50, 16)}
    axis = {"Conv": 0, "MatMul": 1}.get(op_type)
    inputs = {"Conv": {"x": floats(1, 4, 8, 8)}, "MatMul": {"x": floats(2, 64)}, "Gather": {"x": np.asarray([1, 7])}}
    codes, scale, zero = weight(floats(*shapes[op_type]), axis, 7 if dtype == "int4" else 127)
    if dtype == "uint8":
        codes, zero = (codes.astype(np.int16) + 128).astype(np.uint8), np.full(zero.shape, 128, np.uint8)
    operands = ["w_d", "x"] if op_type == "Gather" else ["x", "w_d"]
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["w_d"], axis=axis or 0),
        helper.make_node(op_type, operands, ["y"]),
    ]
    made = model(nodes, inputs[op_type], {"w": codes, "s": scale, "z": zero}, opset=21)
    if dtype == "int4":
        for tensor in made.graph.initializer:
            if tensor.name in ("w", "z"):
                array = numpy_helper.to_array(tensor)
                tensor.CopyFrom(
                    helper.make_tensor(tensor.name, onnx.TensorProto.INT4, array.shape, array.reshape(-1).tolist())
                )
    builtins = agrees(made, inputs[op_type])
    assert "DEQUANTIZE" in builtins
    assert len(lowered(made).content) < 4 * codes.size + 4000 - (2 * codes.size)


def test_weights_stay_in_codes_through_a_transpose_and_a_reshape(model, agrees, lowered, floats):
    codes, scale, zero = weight(floats(4, 4, 64), 0)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=0),
        helper.make_node("Transpose", ["d"], ["t"], perm=[1, 2, 0]),
        helper.make_node("Reshape", ["t", "shape"], ["r"]),
        helper.make_node("MatMul", ["x", "r"], ["y"]),
    ]
    constants = {"w": codes, "s": scale, "z": zero, "shape": np.asarray([256, 4])}
    made = model(nodes, {"x": floats(2, 256)}, constants)
    assert agrees(made, {"x": floats(2, 256)}) == ["DEQUANTIZE", "FULLY_CONNECTED"]
    weights = lowered(made).flat.tensors[lowered(made).flat.operators[0].inputs[0]]
    assert (weights.dtype, weights.shape, weights.quantization.axis) == ("int8", (4, 256), 0)


def test_scales_by_block_are_computed_ahead(model, agrees, floats):
    codes = np.arange(-32, 32, dtype=np.int8).reshape(8, 8)
    constants = {"w": codes, "s": np.abs(floats(4, 8)) + np.float32(0.1)}
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"], axis=0, block_size=2),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    assert agrees(model(nodes, {"x": floats(3, 8)}, constants, opset=21), {"x": floats(3, 8)}) == ["FULLY_CONNECTED"]


def test_half_precision_weights_stay_half_as_large(model, reference, sqnr, tmp_path: Path, floats):
    weights = floats(128, 64).astype(np.float16)
    nodes = [
        helper.make_node("Cast", ["w"], ["f"], to=onnx.TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "f"], ["y"]),
    ]
    inputs = {"x": floats(2, 128)}
    made = model(nodes, inputs, {"w": weights})
    onnx.save(made, tmp_path / "m.onnx")
    written, issues = lower_file(str(tmp_path / "m.onnx"))
    assert list(issues) == []
    assert len(written.content) < weights.nbytes + 3000
    assert [operator.builtin for operator in written.flat.operators] == ["DEQUANTIZE", "FULLY_CONNECTED"]
    found = run(open_file(written.content), inputs)
    assert sqnr(reference(made, inputs)["y"], found["y"]) > 80


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32"])
def test_codes_that_litert_has_no_scheme_for_are_arithmetic(dtype, model, agrees, floats):
    x = {"x": floats(2, 3, 4)}
    zero = np.asarray(0 if dtype == "int32" else 700, dtype)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    constants = {"s": np.float32(0.01), "z": zero}
    if dtype == "int32":
        codes = {"x": np.arange(-6, 6, dtype=np.int32)}
        agrees(model([helper.make_node("DequantizeLinear", ["x", "s"], ["y"])], codes, {"s": np.float32(0.5)}), codes)
    else:
        agrees(model(nodes, x, constants, opset=21), x)


def test_a_scale_for_each_channel_of_an_activation_is_arithmetic(model, agrees, floats):
    x, constants = {"x": floats(2, 3, 4)}, {"s": np.asarray([0.1, 0.2, 0.05], np.float32), "z": np.zeros(3, np.int8)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=1),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=1),
    ]
    agrees(model(nodes, x, constants), x)


@pytest.mark.parametrize("axis", [0, None])
@pytest.mark.parametrize("op_type", ["Conv", "Gemm"])
def test_hybrid_kernels_compute_on_int8_weights_where_that_is_asked_for(
    op_type, axis, model, reference, sqnr, tmp_path: Path, floats
):
    shape, x = {"Conv": ((8, 4, 3, 3), floats(1, 4, 9, 9)), "Gemm": ((16, 64), floats(2, 64))}[op_type]
    codes, scale, zero = weight(floats(*shape), axis)
    more = {} if op_type == "Conv" else {"transB": 1}
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=0),
        helper.make_node(op_type, ["x", "d", "b"], ["y"], **more),
    ]
    made = model(nodes, {"x": x}, {"w": codes, "s": scale, "z": zero, "b": floats(shape[0])})
    onnx.save(made, tmp_path / "m.onnx")
    backend = TFLiteBackend(hybrid=True)
    compiled = backend.compile(tmp_path / "m.onnx", tmp_path / "m.tflite")
    assert "DEQUANTIZE" not in compiled.detail["operators"], compiled
    found = backend.execute(compiled, tmp_path / "m.onnx", [{"x": x}]).samples[0]["y"]
    assert 30 < sqnr(reference(made, {"x": x})["y"], found) < 80
