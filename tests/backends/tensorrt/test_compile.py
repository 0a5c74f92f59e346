"""`TensorRTBackend.compile`: what becomes an engine, what does not, and who is to blame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from graphopt.errors import MissingExtraError, ModelError, UserError
from graphopt_backends.tensorrt.backend import TensorRTBackend

Save = Callable[..., Path]
RELU = "g (float[1, 4] x) => (float[1, 4] y) { y = Relu(x) }"


@pytest.mark.parametrize("name", ["cls", "det"])
def test_ppocr_becomes_an_engine_for_every_fp32_generation(
    name: str, backend: TensorRTBackend, demo: Callable[[str], Path], tmp_path: Path
) -> None:
    result = backend.compile(demo(name), tmp_path / f"{name}.engine")
    assert (result.status, result.issues) == ("ok", ())
    assert result.artifact == tmp_path / f"{name}.engine"
    assert result.bytes == result.artifact.stat().st_size > 1_000_000
    assert result.detail["targets"] == ["sm80", "sm86", "sm89", "sm120"]
    assert result.detail["layers"]["CONVOLUTION"] > 40
    assert [file.name for file in tmp_path.iterdir()] == [f"{name}.engine"]


def test_an_engine_holds_the_targets_that_are_asked_for(backend: TensorRTBackend, save: Save, tmp_path: Path) -> None:
    model = save(RELU)
    two = backend.compile(model, tmp_path / "two.engine", targets=["sm86", "SM89"])
    one = backend.compile(model, tmp_path / "one.engine", targets=["sm89"])
    assert (two.status, one.status) == ("ok", "ok")
    assert two.detail["targets"] == ["sm86", "sm89"]
    assert (tmp_path / "two.engine").read_bytes() != (tmp_path / "one.engine").read_bytes()


def test_a_target_that_does_not_take_the_model_fails_the_build(
    backend: TensorRTBackend, save: Save, tmp_path: Path
) -> None:
    model = save("g (float[8, 64] x, float[64, 64] w) => (float[8, 64] y) { [product] y = MatMul(x, w) }")
    assert backend.compile(model, tmp_path / "m.engine", targets=["sm89"]).status == "ok"
    result = backend.compile(model, tmp_path / "n.engine", targets=["sm75", "sm89"])
    assert result.status == "failed"
    assert any("SM75" in issue.reason for issue in result.issues)  # Turing: no fp32 matrix product


def test_each_refused_node_is_named_with_the_reason(backend: TensorRTBackend, save: Save, tmp_path: Path) -> None:
    model = save(
        """g (float[1, 4, 4] x) => (float[1] y) {
            r = Relu(x)
            [first] d = Det(r)
            e = Det(x)
            y = Add(d, e)
        }"""
    )
    result = backend.compile(model, tmp_path / "out.engine")
    assert result.status == "failed"
    assert [(i.node, i.op_type) for i in result.issues] == [("first", "Det"), ("e", "Det")]  # nameless: by its output
    assert all("no support" in issue.reason for issue in result.issues)


def test_a_model_that_parses_but_does_not_build_fails_at_the_node(
    backend: TensorRTBackend, save: Save, tmp_path: Path
) -> None:
    # supports_model_v2 and parse both say yes to this one.
    model = save("g (float[1, 4, 4] x, float[1, 1, 4] s) => (int64[n, 3] y) { [pick] y = NonMaxSuppression(x, s) }")
    result = backend.compile(model, tmp_path / "out.engine")
    assert result.status == "failed"
    assert (result.issues[0].node, result.issues[0].op_type) == ("pick", "NonMaxSuppression")


def test_an_unknown_operator_is_named(backend: TensorRTBackend, save: Save, tmp_path: Path) -> None:
    model = save("g (float[1, 4] x) => (float[1, 4] y) { [odd] y = acme.Foo(x) }", domain="acme")
    [issue] = backend.compile(model, tmp_path / "out.engine").issues
    assert (issue.node, issue.op_type) == ("odd", "Foo")


def test_dynamic_dimensions_get_a_range(backend: TensorRTBackend, save: Save, tmp_path: Path) -> None:
    model = save("g (float[N, 3, H] x) => (float[N, 3, H] y) { y = Relu(x) }")
    result = backend.compile(model, tmp_path / "m.engine")
    assert result.status == "ok"
    assert result.detail["profile"] == {"x": [[1, 3, 1], [1, 3, 256], [16, 3, 2048]]}


def test_a_range_that_does_not_suit_the_model_is_said_to_be_so(
    backend: TensorRTBackend, save: Save, tmp_path: Path
) -> None:
    model = save(
        """g (float[1, H] x) => (float[1, 7, 3] y) <int64[3] shape = {1, 7, 3}> { [cut] y = Reshape(x, shape) }"""
    )
    result = backend.compile(model, tmp_path / "m.engine")
    assert result.status == "failed"
    assert any("--dim" in issue.reason for issue in result.issues)


def test_external_data_beside_the_model_is_found(backend: TensorRTBackend, tmp_path: Path) -> None:
    import onnx

    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["": 17]> g (float[1, 256] x) => (float[1, 256] y) { y = MatMul(x, w) }'
    )
    weight = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    result = backend.compile(tmp_path / "m.onnx", tmp_path / "out.engine")
    assert result.status == "ok"
    assert result.bytes > weight.nbytes


def test_a_failed_compilation_leaves_the_old_artifact_alone(
    backend: TensorRTBackend, save: Save, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "m.engine").write_bytes(b"old")
    result = backend.compile(save("g (float[1, 4, 4] x) => (float[1] y) { y = Det(x) }"), out / "m.engine")
    assert result.artifact is None
    assert [file.name for file in out.iterdir()] == ["m.engine"]
    assert (out / "m.engine").read_bytes() == b"old"


def test_a_time_limit_that_is_too_short_is_a_result(backend: TensorRTBackend, save: Save, tmp_path: Path) -> None:
    result = backend.compile(save(RELU), tmp_path / "m.engine", timeout=0.01)
    assert result.status == "failed"
    assert "did not finish" in result.issues[0].reason
    assert not (tmp_path / "m.engine").exists()


def test_a_wrong_request_is_a_user_error(backend: TensorRTBackend, save: Save, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sm89"):
        backend.compile(save(RELU), tmp_path / "m.engine", targets=["sm42"])
    with pytest.raises(ModelError, match="no such file"):
        backend.compile(tmp_path / "missing.onnx", tmp_path / "m.engine")


def test_every_target_that_is_offered_builds(backend: TensorRTBackend, save: Save, tmp_path: Path) -> None:
    result = backend.compile(save(RELU), tmp_path / "m.engine", targets=backend.targets)
    assert (result.status, result.detail["targets"]) == ("ok", list(backend.targets))


def test_without_a_gpu_execution_is_unavailable_and_says_what_to_do(
    backend: TensorRTBackend, save: Save, tmp_path: Path
) -> None:
    model = save(RELU)
    result = backend.execute(backend.compile(model, tmp_path / "m.engine"), model, [{"x": np.ones((1, 4), np.float32)}])
    assert (result.status, result.samples) == ("unavailable", ())
    assert "run it" in result.reason


def test_without_the_extra_the_message_is_the_command_that_installs_it(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphopt_backends.tensorrt.backend._DISTRIBUTION", "no-such-distribution")
    assert TensorRTBackend().toolchain() is None
    with pytest.raises(MissingExtraError, match=r"graphopt\[tensorrt\]"):
        TensorRTBackend().compile(save(RELU), tmp_path / "m.engine")
