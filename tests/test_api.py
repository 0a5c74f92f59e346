"""The door for programs: optimize and check."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import graphopt
from graphopt.ir import to_bytes
from graphopt.pipeline import Recipe
from graphopt.report.model import to_json

SMALL = """
    <ir_version: 8, opset_import: ["" : 17], metadata_props: ["author" : "somebody"]>
    small (float[2,3] x) => (float[2,3] y)
    <float[3] w = {1.0, -2.0, 3.0}> {
        a = Identity(x)
        b = Mul(a, w)
        c = Transpose<perm=[1,0]>(b)
        d = Transpose<perm=[1,0]>(c)
        y = Relu(d)
    }"""


@pytest.fixture
def small() -> onnx.ModelProto:
    proto: onnx.ModelProto = onnx.parser.parse_model(SMALL)
    return proto


@pytest.mark.parametrize("kind", ["path", "bytes", "proto", "ir"])
def test_a_model_comes_in_any_form_and_is_not_changed(small: onnx.ModelProto, kind: str, tmp_path: Path) -> None:
    file = tmp_path / "small.onnx"
    onnx.save(small, file)
    before = file.read_bytes()
    loaded = graphopt.load(small)
    model = {"path": file, "bytes": before, "proto": small, "ir": loaded}[kind]
    result = graphopt.optimize(model)
    assert [node.op_type for node in result.model.graph] == ["Mul", "Relu"]
    assert result.report.status == "ok"
    assert result.report.verification.status == "passed"
    assert file.read_bytes() == before
    assert small.SerializeToString() == before
    assert [node.op_type for node in loaded.graph] == ["Identity", "Mul", "Transpose", "Transpose", "Relu"]
    assert sorted(tmp_path.iterdir()) == [file]


def test_a_model_in_memory_keeps_its_bytes_and_its_weights(small: onnx.ModelProto) -> None:
    model = graphopt.load(small)
    weight = np.array([1, -2, 3], np.float32)
    model.graph.initializers["w"].const_value = ir.tensor(weight, name="w")
    before = to_bytes(model)
    graphopt.optimize(model)
    assert to_bytes(model) == before
    assert weight.tolist() == [1, -2, 3]


def test_two_threads_do_not_disturb_each_other(demo_file: object, tmp_path: Path) -> None:
    file = demo_file("cls")  # type: ignore[operator]

    def work(index: int) -> bytes:
        output = tmp_path / f"{index}.onnx"
        result = graphopt.optimize(file, dims={"?": 48}, output=output, samples=1)
        assert result.report.status == "ok"
        return output.read_bytes()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, range(2))
    assert first == second


def test_the_recipe_in_the_report_repeats_the_run(small: onnx.ModelProto, tmp_path: Path) -> None:
    first = graphopt.optimize(small, output=tmp_path / "a.onnx")
    again = graphopt.optimize(small, output=tmp_path / "b.onnx", recipe=first.report.recipe)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert again.report.recipe == first.report.recipe


def test_an_empty_recipe_changes_nothing(small: onnx.ModelProto) -> None:
    result = graphopt.optimize(small, recipe=Recipe(()))
    assert to_bytes(result.model) == to_bytes(graphopt.load(small))
    assert result.report.passes == ()


def test_check_names_what_is_not_supported(small: onnx.ModelProto) -> None:
    small.graph.node[4].op_type, small.graph.node[4].domain = "Frobnicate", "my.ops"
    small.graph.node[4].name = "odd one"
    small.opset_import.add(domain="my.ops", version=1)
    found = graphopt.check(small, ["tflite", "snpe"])
    for answer in found.backends.values():
        assert "odd one" in [finding.node for finding in answer.unsupported]
        assert answer.supported < answer.nodes
    assert json.loads(json.dumps(to_json(found)))["schema"] == "graphopt.check/1"


def test_an_artifact_is_kept_only_where_an_output_was_asked_for(small: onnx.ModelProto, tmp_path: Path) -> None:
    kept = graphopt.optimize(small, backend="tflite", output=tmp_path / "x.onnx")
    assert kept.report.status == "ok", kept.report.reason
    assert kept.artifact == tmp_path / "x.tflite"
    assert kept.artifact.stat().st_size == kept.report.compile.bytes > 0
    assert kept.report.compile.execution.status == "passed"
    assert graphopt.optimize(small, backend="tflite").artifact is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "tflight"}, "there is no backend 'tflight'; did you mean 'tflite'?"),
        ({"recipe": "[[pass]]\nname = 'zzz'"}, "there is no pass 'zzz'"),
        ({"dims": {"batch": 2}}, "batch"),
        ({"backend": "tflite", "targets": ["sm89"]}, "tflite has no targets to choose"),
        ({"targets": ["sm89"]}, "a run without -b"),
        ({"output": "/nowhere/x.onnx"}, "cannot write /nowhere/x.onnx"),
    ],
)
def test_a_wrong_argument_is_a_user_error(small: onnx.ModelProto, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(graphopt.UserError, match=message):
        graphopt.optimize(small, **arguments)  # type: ignore[arg-type]
