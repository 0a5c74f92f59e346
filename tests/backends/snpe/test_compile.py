"""`SnpeBackend.compile`: what becomes a .dlc, what does not, and who is to blame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from graphopt.errors import MissingExtraError, ModelError, UserError
from graphopt_backends.snpe.backend import SnpeBackend
from graphopt_backends.snpe.dlc import read

Save = Callable[..., Path]
RELU = "g (float[1, 4] x) => (float[1, 4] y) { y = Relu(x) }"


@pytest.mark.parametrize("name", ["cls", "det"])
def test_ppocr_becomes_one_dlc_without_a_node_on_the_cpu(
    name: str, backend: SnpeBackend, demo: Callable[[str], Path], tmp_path: Path
) -> None:
    result = backend.compile(demo(name), tmp_path / f"{name}.dlc")
    assert (result.status, result.issues) == ("ok", ())
    assert result.artifact == tmp_path / f"{name}.dlc"
    assert result.bytes == result.artifact.stat().st_size > 100_000
    [graph] = read(result.artifact).graphs
    assert graph.histogram()["Conv2d"] > 10
    assert result.detail["dlc"]["ops"] == len(graph.ops)
    assert [file.name for file in tmp_path.iterdir()] == [f"{name}.dlc"]


def test_each_refused_node_is_named_once_with_the_reason(backend: SnpeBackend, save: Save, tmp_path: Path) -> None:
    model = save(
        """g (float[1, 4, 4] x) => (float[1] y) {
            r = Relu(x)
            [first] d = Det(r)
            e = Det(x)
            y = Add(d, e)
        }"""
    )
    result = backend.compile(model, tmp_path / "out.dlc")
    assert result.status == "failed"
    assert {(i.node, i.op_type) for i in result.issues} == {("first", "Det"), ("e", "Det")}  # nameless: by its output
    assert len(result.issues) == 2
    assert all("not supported" in issue.reason for issue in result.issues)


def test_a_refused_dtype_comes_with_the_dtypes_that_qnn_takes(backend: SnpeBackend, save: Save, tmp_path: Path) -> None:
    model = save("g (float[1, 4] x) => (float[1, 4] y) { [angle] y = Asin(x) }")
    [issue] = backend.compile(model, tmp_path / "out.dlc").issues
    assert (issue.node, issue.op_type) == ("angle", "Asin")
    assert "FLOAT_32" in issue.reason
    assert "INT8" in issue.reason


def test_open_dimensions_are_one_issue_that_says_what_to_type(backend: SnpeBackend, save: Save, tmp_path: Path) -> None:
    model = save("g (float[N, 3, H, 8] x, float[1] k) => (float[N, 3, H, 8] y) { y = Add(x, k) }")
    [issue] = backend.compile(model, tmp_path / "out.dlc").issues
    assert "x [N, 3, H, 8]" in issue.reason
    assert "--dim x=1x3x224x8" in issue.reason


@pytest.mark.parametrize(("settings", "words"), [({"ir_version": 14}, "IR version 14"), ({"opset": 27}, "opset 27")])
def test_a_file_newer_than_onnxruntime_is_said_to_be_so(
    settings: dict[str, int], words: str, backend: SnpeBackend, save: Save, tmp_path: Path
) -> None:
    [issue] = backend.compile(save(RELU, **settings), tmp_path / "out.dlc").issues
    assert words in issue.reason
    assert "reads up to" in issue.reason


def test_an_unknown_operator_is_named(backend: SnpeBackend, save: Save, tmp_path: Path) -> None:
    model = save("g (float[1, 4] x) => (float[1, 4] y) { [odd] y = acme.Foo(x) }", domain="acme")
    [issue] = backend.compile(model, tmp_path / "out.dlc").issues
    assert (issue.node, issue.op_type) == ("odd", "Foo")


def test_a_crash_of_the_compiler_is_a_result(backend: SnpeBackend, save: Save, tmp_path: Path) -> None:
    model = save("g (float[2, 0, 4] x) => (float[2, 4] y) { y = ReduceMax<axes = [1], keepdims = 0>(x) }")
    result = backend.compile(model, tmp_path / "out.dlc")
    assert result.status == "failed"
    assert "SIGFPE" in result.issues[0].reason
    assert "SIGFPE" in result.detail["targets"]["soc57"]["crash"]


def test_a_failed_compilation_leaves_the_old_artifact_alone(backend: SnpeBackend, save: Save, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "m.dlc").write_bytes(b"old")
    result = backend.compile(save("g (float[1, 4, 4] x) => (float[1] y) { y = Det(x) }"), out / "m.dlc")
    assert result.artifact is None
    assert [file.name for file in out.iterdir()] == ["m.dlc"]
    assert (out / "m.dlc").read_bytes() == b"old"


def test_a_time_limit_that_is_too_short_is_a_result(backend: SnpeBackend, save: Save, tmp_path: Path) -> None:
    result = backend.compile(save(RELU), tmp_path / "out.dlc", timeout=0.01)
    assert result.status == "failed"
    assert "did not finish" in result.issues[0].reason
    assert not (tmp_path / "out.dlc").exists()


def test_named_targets_add_a_context_binary_each(backend: SnpeBackend, save: Save, tmp_path: Path) -> None:
    result = backend.compile(save(RELU), tmp_path / "m.dlc", targets=["v73", "sm8650"])
    assert result.status == "ok"
    chips = result.detail["targets"]
    assert {name: chip["chip"] for name, chip in chips.items()} == {"soc43": "SM8550", "soc57": "SM8650"}
    for name, chip in chips.items():
        binary = tmp_path / f"m.{name}.bin"
        assert chip["context_binary"] == {"path": str(binary), "bytes": binary.stat().st_size}


def test_external_data_beside_the_model_is_found(backend: SnpeBackend, tmp_path: Path) -> None:
    import numpy as np
    import onnx

    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["": 17]> g (float[1, 64] x) => (float[1, 64] y) { y = MatMul(x, w) }'
    )
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    result = backend.compile(tmp_path / "m.onnx", tmp_path / "out.dlc")
    assert result.status == "ok"
    assert result.detail["dlc"]["weight_bytes"] >= weight.nbytes


def test_a_wrong_request_is_a_user_error(backend: SnpeBackend, save: Save, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="v99"):
        backend.compile(save(RELU), tmp_path / "m.dlc", targets=["v99"])
    with pytest.raises(ModelError, match="no such file"):
        backend.compile(tmp_path / "missing.onnx", tmp_path / "m.dlc")


def test_without_the_extra_the_message_is_the_command_that_installs_it(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphopt_backends.snpe.backend._DISTRIBUTION", "no-such-distribution")
    assert SnpeBackend().toolchain() is None
    with pytest.raises(MissingExtraError, match=r"graphopt\[snpe\]"):
        SnpeBackend().compile(save(RELU), tmp_path / "m.dlc")
