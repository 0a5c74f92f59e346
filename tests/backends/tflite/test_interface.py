"""Which order of axes images have at the interface of a file, and that they stay the images that they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter

from graphopt import optimize

NCHW = """<ir_version: 8, opset_import: ["": 17]>
    g (float[1, 3, 8, 8] x, float[1, 4] b) => (float[1, 4, 8, 8] y, float[1, 4] z)
    <float[4, 3, 3, 3] w = {WEIGHTS}> {
        c = Conv <pads = [1, 1, 1, 1]> (x, w)  y = Relu (c)  z = Relu (b) }"""
NHWC = """<ir_version: 8, opset_import: ["": 17]>
    g (float[1, 8, 8, 3] x, float[1, 4] b) => (float[1, 8, 8, 4] y, float[1, 4] z)
    <float[4, 3, 3, 3] w = {WEIGHTS}> {
        t = Transpose <perm = [0, 3, 1, 2]> (x)  c = Conv <pads = [1, 1, 1, 1]> (t, w)
        u = Transpose <perm = [0, 2, 3, 1]> (c)  y = Relu (u)  z = Relu (b) }"""


def model(source: str) -> onnx.ModelProto:
    weights = np.random.default_rng(0).normal(size=108)
    return onnx.parser.parse_model(source.replace("WEIGHTS", ", ".join(f"{w:.4f}" for w in weights)))


@pytest.mark.parametrize(
    ("source", "io_layout", "shapes"),
    [
        (NCHW, "keep", {"x": (1, 3, 8, 8), "b": (1, 4), "y": (1, 4, 8, 8), "z": (1, 4)}),
        (NCHW, "nhwc", {"x": (1, 8, 8, 3), "b": (1, 4), "y": (1, 8, 8, 4), "z": (1, 4)}),
        (NCHW, "nchw", {"x": (1, 3, 8, 8), "b": (1, 4), "y": (1, 4, 8, 8), "z": (1, 4)}),
        (NHWC, "keep", {"x": (1, 8, 8, 3), "b": (1, 4), "y": (1, 8, 8, 4), "z": (1, 4)}),
        (NHWC, "nhwc", {"x": (1, 8, 8, 3), "b": (1, 4), "y": (1, 8, 8, 4), "z": (1, 4)}),
        (NHWC, "nchw", {"x": (1, 3, 8, 8), "b": (1, 4), "y": (1, 4, 8, 8), "z": (1, 4)}),
    ],
)
def test_images_are_stored_as_asked_and_agree_with_the_model(
    source: str, io_layout: str, shapes: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    result = optimize(model(source), backend=f"tflite:io_layout={io_layout}", artifact=tmp_path / "m.tflite")
    assert result.report.status == "ok", result.report.reason
    assert result.report.compile.execution.status == "passed"
    interpreter = Interpreter(str(tmp_path / "m.tflite"))
    signature = interpreter.get_signature_runner()
    held = {**signature.get_input_details(), **signature.get_output_details()}
    assert {name: tuple(int(d) for d in detail["shape"]) for name, detail in held.items()} == shapes
    if io_layout == "nhwc":
        assert "TRANSPOSE" not in result.report.compile.detail["operators"]


SHUFFLE = """<ir_version: 8, opset_import: ["": 17]> g (float[1, 8, 6, 6] x) => (float[1, 8, 6, 6] y)
    <float[8, 8, 1, 1] w = {WEIGHTS}, int64[5] apart = {1, 2, 4, 6, 6}, int64[4] whole = {1, 8, 6, 6}> {
        a = Conv (x, w)  p = Reshape (a, apart)  t = Transpose <perm = [0, 2, 1, 3, 4]> (p)
        s = Reshape (t, whole)  y = Conv (s, w) }"""


def test_a_channel_shuffle_between_convolutions_moves_the_data_once(tmp_path: Path) -> None:
    weights = ", ".join(f"{w:.4f}" for w in np.random.default_rng(0).normal(size=64))
    shuffled = onnx.parser.parse_model(SHUFFLE.replace("WEIGHTS", weights))
    result = optimize(shuffled, backend="tflite:io_layout=nhwc", artifact=tmp_path / "m.tflite")
    assert result.report.status == "ok", result.report.reason
    assert result.report.compile.detail["operators"]["TRANSPOSE"] == 1
