"""Files that are not usable models: one clear line, exit code 2, nothing written."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "JPEG")
    return buffer.getvalue()


def _model(body: str) -> onnx.ModelProto:
    text = f'<ir_version: 8, opset_import: ["" : 17]> bad (float[4] x) => (float[4] y) {body}'
    proto: onnx.ModelProto = onnx.parser.parse_model(text)
    return proto


def _truncated() -> bytes:
    whole = _model("{ y = Add(x, w) }")
    whole.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(4000, np.float32), "w"))
    data = whole.SerializeToString()
    return data[: len(data) // 2]


def _external() -> bytes:
    proto = _model("{ y = Add(x, w) }")
    weight = proto.graph.initializer.add(name="w", data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="../../../../../../../../etc/passwd")
    return proto.SerializeToString()


def _cycle() -> bytes:
    return _model("{ a = Add(x, b) b = Relu(a) y = Neg(b) }").SerializeToString()


BAD = {
    "empty": (b"", "is empty"),
    "jpeg": (_jpeg(), "is not an ONNX model, or is truncated"),
    "truncated": (_truncated(), "truncated"),
    "text": (b"hello, world\n", "is not an ONNX model, or is truncated"),
    "external": (_external(), "lies outside the model's folder (../../../../../../../../etc/passwd)"),
    "cycle": (_cycle(), "the graph has a cycle"),
    "missing": (None, "cannot be read: no such file or directory"),
    "folder": ("folder", "is a folder, not a model file"),
}


@pytest.fixture(params=BAD)
def bad(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A bad file is there as bad.onnx; gives what must be said of it."""
    content, message = BAD[request.param]
    if content == "folder":
        (tmp_path / "bad.onnx").mkdir()
    elif isinstance(content, bytes):
        (tmp_path / "bad.onnx").write_bytes(content)
    return message


def _is_one_line(error: str, message: str) -> bool:
    return error.startswith("graphopt: ") and message in error and error.count("\n") == 1


def test_run_says_one_line_and_writes_nothing(shell: Callable[..., Any], bad: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    done = shell("run", "bad.onnx", "-o", "deep/out/")
    assert done.returncode == 2
    assert done.stdout == b""
    assert _is_one_line(done.stderr.decode(), bad)
    assert "bad.onnx" in done.stderr.decode()
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "command",
    [["run", "bad.onnx", "-o", "x.onnx"], ["run", "bad.onnx", "--json"], ["check", "bad.onnx", "-b", "tflite"],
     ["compile", "bad.onnx", "-b", "tflite", "-o", "x.tflite"]],
)  # fmt: skip
def test_every_command_says_the_same(here: Callable[..., Any], bad: str, tmp_path: Path, command: list[str]) -> None:
    before = sorted(tmp_path.iterdir())
    answer = here(*command)
    assert (answer.code, answer.out) == (2, "")
    assert _is_one_line(answer.err, bad)
    assert sorted(tmp_path.iterdir()) == before


def test_a_bad_model_from_standard_input_is_named_so(shell: Callable[..., Any]) -> None:
    done = shell("run", "-", stdin=b"")
    assert (done.returncode, done.stderr) == (2, b"graphopt: standard input: is empty\n")


def test_an_operator_that_nobody_knows_is_kept_by_run_and_found_by_check(
    here: Callable[..., Any], custom: Path, tmp_path: Path
) -> None:
    answer = here("run", "custom.onnx", "-o", "x.onnx", "-q")
    assert (answer.code, answer.err) == (0, "")
    kept = onnx.load(tmp_path / "x.onnx")
    assert [(n.op_type, n.domain) for n in kept.graph.node] == [("Frobnicate", "my.ops"), ("Relu", "")]
    assert kept.graph.node[0].attribute[0].i == 3
    answer = here("check", "custom.onnx", "-b", "tflite,tensorrt,snpe")
    assert answer.code == 1
    assert "Frobnicate" in answer.out
    assert here("run", "custom.onnx", "-b", "tflite", "--no-compile", "-q").code == 1
