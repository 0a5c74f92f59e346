"""Real models in real runtimes: more work takes longer, what crashes is said, and what cannot be compared is not."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.bench import bench
from graphopt.bench.plot import draw
from graphopt.bench.process import BenchError, Process
from graphopt.errors import ModelError, UserError
from graphopt.pipeline import make_backend

QUICK: dict[str, Any] = {"seconds": 0.2, "processes": 1, "rounds": 5, "threads": 1}


def products(tmp_path: Path, name: str, count: int, size: int = 128, first: str = "x") -> Path:
    """A chain of matrix products."""
    matrix = numpy_helper.from_array(np.eye(size, dtype=np.float32), "w")
    values = [first, *(f"v{place}" for place in range(count - 1)), "y"]
    graph = helper.make_graph(
        [helper.make_node("MatMul", [values[i], "w"], [values[i + 1]], f"product{i}") for i in range(count)],
        "g",
        [helper.make_tensor_value_info(first, TensorProto.FLOAT, ["n", size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", size])],
        [matrix],
    )
    file = tmp_path / f"{name}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    return file


def test_ten_times_the_work_takes_longer_and_the_profile_says_where(tmp_path: Path) -> None:
    small, large = products(tmp_path, "small", 3), products(tmp_path, "large", 30)
    found = bench([small, large], dims={"n": 128}, profile=True, **{**QUICK, "processes": 2})
    assert found.sizes == {"x": (128, 128)}
    assert found.comparisons[0].verdict == "slower"
    one, other = found.timings
    assert one.fastest <= one.low <= one.median <= one.high
    assert other.median > 3 * one.median
    assert one.runs >= 2 * 5
    assert one.peak_bytes > one.base_bytes > 1 << 20
    assert {(operator["op_type"], operator["name"]) for operator in one.profile} == {
        ("MatMul", f"product{place}") for place in range(3)
    }
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["schema"] == "graphopt.bench/1"
    picture = ElementTree.fromstring(draw(found))
    words = " ".join(picture.itertext())
    assert "small.onnx" in words
    assert "slower" in words


def test_an_onnx_file_and_what_it_was_compiled_to_are_timed_side_by_side(tmp_path: Path) -> None:
    file, compiled = products(tmp_path, "m", 4, size=32), tmp_path / "m.tflite"
    fixed = onnx.load(file)
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 6
    onnx.save(fixed, tmp_path / "fixed.onnx")
    assert make_backend("tflite").compile(tmp_path / "fixed.onnx", compiled).status == "ok"
    found = bench([file, compiled], profile=True, **QUICK)
    assert found.sizes == {"x": (6, 32)}, "what the one leaves open takes the size that the other has"
    assert found.timings[1].runtime.startswith("LiteRT")
    assert found.timings[1].note == ""
    assert found.timings[1].profile_note
    assert found.comparisons[0].verdict != "incomparable"


def test_models_with_other_inputs_are_timed_but_not_compared(tmp_path: Path) -> None:
    found = bench([products(tmp_path, "a", 2), products(tmp_path, "b", 2, first="image")], **QUICK)
    assert found.comparisons[0].verdict == "incomparable"
    assert found.comparisons[0].ratio is None
    assert "image" in found.comparisons[0].reason


def test_a_model_that_the_runtime_refuses_is_named(tmp_path: Path) -> None:
    file = tmp_path / "odd.onnx"
    onnx.save(
        onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17, "my.ops" : 1]>
            g (float[1] x) => (float[1] y) { y = my.ops.Odd(x) }"""),
        file,
    )
    with pytest.raises(BenchError, match=r"odd\.onnx.*Odd"):
        bench([file], **QUICK)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"no flatbuffer")
    with pytest.raises(ModelError, match=r"x\.tflite"):
        bench([tmp_path / "x.tflite"], **QUICK)
    (tmp_path / "x.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"\.onnx, \.tflite"):
        bench([tmp_path / "x.bin"], **QUICK)
    with pytest.raises(UserError, match="no such file"):
        bench([tmp_path / "missing.onnx"], **QUICK)


def test_a_runtime_that_dies_or_hangs_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "wild.py").write_text(
        "import os, signal, time\n"
        "def die(*args, **options): os.kill(os.getpid(), signal.SIGSEGV)\n"
        "def hang(*args, **options): time.sleep(60)\n"
    )
    with Process("m.onnx", timeout=30) as process, pytest.raises(BenchError, match=r"m\.onnx: .* SIGSEGV"):
        process.ask("signature", runner="wild:die", file="m.onnx")
    with Process("m.onnx", timeout=1) as process, pytest.raises(BenchError, match="no answer in 1 s"):
        process.ask("signature", runner="wild:hang", file="m.onnx")
