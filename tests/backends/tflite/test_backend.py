from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import helper

from graphopt.support.backend import CompileResult
from graphopt_backends.tflite.backend import TFLiteBackend
from graphopt_backends.tflite.executor import open_file, run
from graphopt_backends.tflite.probe import mismatch, verdict


@pytest.fixture(scope="session")
def backend() -> TFLiteBackend:
    return TFLiteBackend()


@pytest.fixture
def compile_text(backend: TFLiteBackend, tmp_path: Path) -> Callable[[str], CompileResult]:
    def compile_(graph: str, opset: int = 17) -> CompileResult:
        model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}, "custom": 1]>\n{graph}')
        onnx.save(model, tmp_path / "model.onnx")
        return backend.compile(tmp_path / "model.onnx", tmp_path / "model.tflite", timeout=60)

    return compile_


def test_it_compiles_and_executes_under_the_names_of_the_model(backend, compile_text, tmp_path):
    compiled = compile_text('g (float[2,3] "in/put:0") => (float[2,3] "out put") { "out put" = Relu("in/put:0") }')
    assert (compiled.status, compiled.artifact) == ("ok", tmp_path / "model.tflite")
    assert compiled.bytes == compiled.artifact.stat().st_size
    assert compiled.toolchain.startswith("ai-edge-litert ")
    assert compiled.detail["operators"] == {"RELU": 1}
    assert compiled.detail["xnnpack"] == {"taken": 1, "operators": 1, "left": {}}
    samples = [{"in/put:0": np.full((2, 3), number, np.float32)} for number in (-1, 2)]
    result = backend.execute(compiled, tmp_path / "model.onnx", samples)
    assert (result.status, result.runtime) == ("ok", "LiteRT CPU, XNNPACK took 1 of 1 operators")
    assert [float(sample["out put"].max()) for sample in result.samples] == [0.0, 2.0]


def test_every_node_that_is_not_taken_is_named(compile_text):
    compiled = compile_text(
        "g (float[2,3] x) => (float[2,3] y, float[2,3] a, float[2,3] c) {\n"
        "[first] a = Det(x)\n"
        "[second] b = Erf(x)\n"
        "[third] c = custom.Thing(b)\n"
        "[after] y = Relu(b)\n}"
    )
    assert compiled.status == "failed"
    assert [(issue.node, issue.op_type) for issue in compiled.issues] == [
        ("first", "Det"), ("second", "Erf"), ("third", "Thing")
    ]  # fmt: skip
    assert "custom::Thing" in compiled.issues[2].reason


def test_a_node_without_a_name_is_called_by_its_output(compile_text):
    compiled = compile_text("g (float[2,3] x) => (float[2,3] y) { y = Erf(x) }")
    assert [issue.node for issue in compiled.issues] == ["y"]


def test_a_failed_compilation_leaves_the_old_file_and_nothing_else(compile_text, tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"old")
    assert compile_text("g (float[2] x) => (float[2] y) { y = Erf(x) }").status == "failed"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.tflite"]
    assert (tmp_path / "model.tflite").read_bytes() == b"old"


def test_a_write_that_fails_leaves_no_part_behind(backend, compile_text, tmp_path):
    (tmp_path / "model.tflite").mkdir()
    compiled = compile_text("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    assert compiled.status == "failed"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.tflite"]


def test_symbolic_dimensions_are_named_with_what_to_do(compile_text):
    compiled = compile_text("g (float[batch,wide] x) => (float[batch,wide] y) { y = Relu(x) }")
    reason = "input 'x' has the symbolic dimensions batch, wide: fix them with `--dim NAME=SIZE`"
    assert compiled.issues[0].reason == reason


def test_a_text_input_is_refused_by_name(compile_text):
    compiled = compile_text("g (string[3] x, float[3] z) => (float[3] y) { y = Relu(z) }")
    assert "input 'x' is of STRING" in compiled.issues[0].reason


def test_stated_output_shapes_of_minus_one_are_inferred(backend, model, tmp_path, floats):
    made = model([helper.make_node("Relu", ["x"], ["y"])], {"x": floats(2, 3)})
    for dim in made.graph.output[0].type.tensor_type.shape.dim:
        dim.dim_value = -1
    onnx.save(made, tmp_path / "m.onnx")
    assert backend.compile(tmp_path / "m.onnx", tmp_path / "m.tflite").status == "ok"


def test_an_output_that_is_an_input_a_constant_or_another_output_is_a_copy(agrees, model, floats):
    nodes = [
        helper.make_node("Identity", ["x"], ["y"]),
        helper.make_node("Identity", ["y"], ["z"]),
        helper.make_node("Identity", ["c"], ["k"]),
    ]
    inputs = {"x": floats(2, 3)}
    agrees(model(nodes, inputs, {"c": floats(4)}, ["y", "z", "k"]), inputs)


def test_an_unused_input_stays_in_the_signature(agrees, model, floats):
    inputs = {"x": floats(2, 3), "unused": floats(5)}
    agrees(model([helper.make_node("Relu", ["x"], ["y"])], inputs), inputs)


def test_a_dead_branch_is_not_written(lowered, model, floats):
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Tanh", ["x"], ["dead"])]
    made = lowered(model(nodes, {"x": floats(2, 3)}))
    assert [operator.builtin for operator in made.flat.operators] == ["RELU"]


def test_the_file_is_aligned_deduplicated_and_states_its_runtime(lowered, model, floats):
    weights = floats(3, 3)
    nodes = [helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("MatMul", ["h", "b"], ["y"])]
    content = lowered(model(nodes, {"x": floats(2, 3)}, {"a": weights, "b": weights.copy()})).content
    assert content[4:8] == b"TFL3"
    file = schema.ModelT.InitFromPackedBuf(content, 0)
    assert file.buffers[0].data is None
    weight_bytes = weights.T.tobytes()
    assert content.count(weight_bytes) == 1
    assert content.index(weight_bytes) % 16 == 0
    assert [entry.name for entry in file.metadata] == [b"min_runtime_version"]
    assert bytes(file.buffers[file.metadata[0].buffer].data).rstrip(b"\0").count(b".") == 2
    assert all(code.deprecatedBuiltinCode == min(code.builtinCode, 127) for code in file.operatorCodes)


def test_what_xnnpack_leaves_to_the_kernels_is_listed(compile_text):
    compiled = compile_text(
        "g (float[2,3,4] x) => (float[2,3,4] y) {\n"
        "a = Relu(x)\n"
        "b = Sin(a)\n"
        "c = CumSum(b, axis)\n"
        "d = Sin(c)\n"
        "y = Relu(d)\n}".replace("y) {", "y) <int64 axis = {1}> {")
    )
    assert compiled.detail["xnnpack"]["left"] == {"CUMSUM": 1}
    assert compiled.detail["xnnpack"]["operators"] == 5


def test_a_large_file_keeps_its_constants_behind_the_flatbuffer(
    lowered, model, reference, tmp_path, floats, monkeypatch
):
    constants = {"a": floats(33, 41), "b": floats(41, 7), "w": floats(5, 3, 3, 3)}
    inputs = {"x": floats(2, 33), "i": floats(1, 3, 8, 8)}
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("MatMul", ["h", "b"], ["y"]),
        helper.make_node("Conv", ["i", "w"], ["z"]),
    ]
    made = model(nodes, inputs, constants, ["y", "z"])
    whole = lowered(made).content
    monkeypatch.setattr("graphopt_backends.tflite.pack.LARGEST_FLATBUFFER", 1000)
    written = lowered(made)
    assert len(written.content) < 4000 < len(whole)
    (tmp_path / "m.tflite").write_bytes(written.content + b"".join(bytes(piece) for piece in written.tail))
    file = schema.ModelT.InitFromPackedBuf(written.content, 0)
    assert all(buffer.offset % 16 == 0 for buffer in file.buffers)
    assert max(buffer.offset + buffer.size for buffer in file.buffers) == (tmp_path / "m.tflite").stat().st_size
    found = run(open_file(tmp_path / "m.tflite"), inputs)
    for name, expected in reference(made, inputs).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-5)


def test_the_verdict_tells_claimed_from_compiled_from_right(model, tmp_path, floats):
    x = floats(2, 3)
    np.savez(tmp_path / "x.npz", x=x)
    for name, y in (("right", np.maximum(x, 0)), ("wrong", x)):
        np.savez(tmp_path / f"{name}.npz", y=y)
    paths = [str(tmp_path / name) for name in ("m.onnx", "x.npz", "right.npz", "wrong.npz")]
    onnx.save(model([helper.make_node("Relu", ["x"], ["y"])], {"x": x}), paths[0])
    good, bad = verdict(*paths[:3]), verdict(paths[0], paths[1], paths[3])
    assert good == {
        "claimed": True, "compiled": True, "ran": True, "numerics": "pass", "error": "", "realized_as": ["RELU"]
    }  # fmt: skip
    assert (bad["ran"], bad["numerics"]) == (True, "fail")
    onnx.save(model([helper.make_node("Erf", ["x"], ["y"])], {"x": x}), paths[0])
    refused = verdict(*paths[:3])
    assert (refused["claimed"], refused["compiled"], refused["ran"], refused["numerics"]) == (False, False, None, None)
    assert "Erf" in refused["error"]


def test_a_mismatch_is_measured_against_the_range_and_exact_for_whole_numbers():
    y = np.asarray([0.0, 100.0], np.float32)
    assert mismatch(y, y + np.float32(0.005)) == ""
    assert "of the range" in mismatch(y, y + np.float32(0.05))
    assert mismatch(np.asarray([1, 2]), np.asarray([1, 3])) == "1 of 2 elements differ"
    assert mismatch(np.asarray([np.nan, 1], "f"), np.asarray([1, 1], "f")) == "NaN or infinity differs"
    assert "instead of" in mismatch(y, y.astype("f8"))


def test_an_output_that_litert_cannot_give_in_onnx_layout_is_named(lowered, model):
    made = lowered(model([helper.make_node("Identity", ["x"], ["y"])], {"x": np.ones((2, 3))}))
    assert [issue.node for issue in made.issues] == ["y"]
    assert "does not run on float64" in made.issues[0].reason


def test_sizes_that_constants_and_static_shapes_decide_are_computed_ahead(compile_text):
    compiled = compile_text(
        "g (float[2,3,4] x) => (float[2,12] y) <int64 zero = {0}, int64[1] rest = {-1}, int64[1] front = {0}> {\n"
        "s = Shape(x)\n"
        "n = Gather(s, zero)\n"
        "row = Unsqueeze(n, front)\n"
        "sizes = Concat<axis = 0>(row, rest)\n"
        "y = Reshape(x, sizes)\n}"
    )
    assert compiled.status == "ok", compiled.issues
    assert compiled.detail["operators"] == {"RESHAPE": 1}
