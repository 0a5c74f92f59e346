from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from graphopt_backends.tflite.backend import TFLiteBackend
from graphopt_backends.tflite.compiler import lower_file
from graphopt_backends.tflite.executor import open_file, run


@pytest.fixture
def with_open_batch(tmp_path):
    """A file whose model has inputs with an open first axis."""

    def test(nodes, inputs, constants=None, outputs=("y",), opset=17) -> str:
        graph = helper.make_graph(
            nodes, "test",
            [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["N", *shape]) for n, shape in inputs.items()],
            [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.save(model, tmp_path / "m.onnx")
        return str(tmp_path / "m.onnx")

    return test


def _network(floats):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Slice", ["p", "zero", "two", "two"], ["s"]),
        helper.make_node("Shape", ["s"], ["size"]),
        helper.make_node("Gather", ["size", "first"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["flat"], axis=0),
        helper.make_node("Reshape", ["s", "flat"], ["f"]),
        helper.make_node("MatMul", ["f", "k"], ["m"]),
        helper.make_node("Softmax", ["m"], ["y"], axis=-1),
    ]
    constants = {
        "w": floats(4, 3, 3, 3), "zero": np.asarray([0]), "two": np.asarray([2]), "first": np.asarray([0]),
        "rest": np.asarray([-1]), "k": floats(32, 5),
    }  # fmt: skip
    return nodes, {"x": (3, 8, 8)}, constants


def test_a_batch_stays_open_and_any_size_runs(with_open_batch, reference, sqnr, floats):
    path = with_open_batch(*_network(floats))
    written, issues = lower_file(path)
    assert list(issues) == []
    interpreter = open_file(written.content)
    details = interpreter.get_input_details()[0]
    assert details["shape"].tolist() == [1, 3, 8, 8]
    assert details["shape_signature"].tolist() == [-1, 3, 8, 8]
    assert interpreter.get_output_details()[0]["shape_signature"].tolist() == [-1, 5]
    for size in (1, 4, 7, 2):
        sample = {"x": floats(size, 3, 8, 8)}
        expected = reference(onnx.load(path), sample)["y"]
        found = run(interpreter, sample)["y"]
        assert found.shape == expected.shape
        assert sqnr(expected, found) > 100


def test_two_inputs_share_their_batch(with_open_batch, reference, sqnr, floats):
    nodes = [
        helper.make_node("Transpose", ["b"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["a", "t"], ["m"]),
        helper.make_node("Concat", ["m", "a"], ["y"], axis=2),
    ]
    path = with_open_batch(nodes, {"a": (4, 6), "b": (4, 6)})
    written, issues = lower_file(path)
    assert list(issues) == []
    sample = {"a": floats(3, 4, 6), "b": floats(3, 4, 6)}
    expected, found = reference(onnx.load(path), sample)["y"], run(open_file(written.content), sample)["y"]
    assert sqnr(expected, found) > 100


def test_quantized_models_keep_their_batch_open(with_open_batch, reference, floats):
    constants = {"s": np.float32(0.05), "z": np.int8(3), "w": np.arange(-30, 30, dtype=np.int8).reshape(12, 5)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "s"], ["wd"]),
        helper.make_node("MatMul", ["d", "wd"], ["m"]),
        helper.make_node("QuantizeLinear", ["m", "s", "z"], ["mq"]),
        helper.make_node("DequantizeLinear", ["mq", "s", "z"], ["y"]),
    ]
    path = with_open_batch(nodes, {"x": (12,)}, constants)
    written, issues = lower_file(path)
    assert list(issues) == []
    sample = {"x": floats(5, 12)}
    found = run(open_file(written.content), sample)["y"]
    assert np.abs(found - reference(onnx.load(path), sample)["y"]).max() <= 0.051


def test_what_cannot_stay_open_is_named_with_what_to_do(with_open_batch, floats):
    constants = {"w": floats(1, 16, 3), "r": floats(1, 16, 4), "first": np.asarray([0]), "last": np.asarray([3])}
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["t", "w", "r"], ["y"], hidden_size=4, name="layer"),
    ]
    _, issues = lower_file(with_open_batch(nodes, {"x": (5, 3)}, constants))
    assert [issue.node for issue in issues] == ["layer"]
    assert "the batch N cannot stay open" in issues[0].reason
    assert "`--dim N=1`" in issues[0].reason


def test_a_model_that_was_made_for_one_size_is_named(with_open_batch, floats):
    constants = {"shape": np.asarray([1, 6])}
    _, issues = lower_file(
        with_open_batch([helper.make_node("Reshape", ["x", "shape"], ["y"])], {"x": (2, 3)}, constants)
    )
    assert (
        issues[0].reason == "the batch N cannot stay open: the model is made for batches of 1; fix it with `--dim N=1`"
    )


def test_the_backend_runs_samples_of_any_batch(with_open_batch, tmp_path, floats):
    backend, path = TFLiteBackend(), with_open_batch(*_network(floats))
    compiled = backend.compile(tmp_path / "m.onnx", tmp_path / "m.tflite")
    assert compiled.status == "ok"
    result = backend.execute(compiled, tmp_path / "m.onnx", [{"x": floats(size, 3, 8, 8)} for size in (1, 6)])
    assert [sample["y"].shape for sample in result.samples] == [(1, 5), (6, 5)]
    assert path.endswith("m.onnx")
