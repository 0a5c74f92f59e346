"""`graphopt reduce`, as a user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
from onnx import TensorProto, helper


def chain(path: Path) -> Path:
    """Nine Relus and an Exp."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("v0", "v10")]
    kinds = ["Relu"] * 5 + ["Exp"] + ["Relu"] * 4
    nodes = [helper.make_node(kind, [f"v{i}"], [f"v{i + 1}"]) for i, kind in enumerate(kinds)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_command_that_fails_gives_a_small_model(shell, tmp_path: Path) -> None:
    chain(tmp_path / "m.onnx")
    answer = shell("reduce", "m.onnx", "--command", "grep -q Exp {} && exit 7", "-o", "small.onnx")
    assert answer.returncode == 0, answer.stderr
    assert b"it shows: exit 7" in answer.stdout
    assert b"small.onnx: 1 of 10 nodes" in answer.stdout
    assert [node.op_type for node in onnx.load(tmp_path / "small.onnx").graph.node] == ["Exp"]


def test_json_says_the_same(shell, tmp_path: Path) -> None:
    chain(tmp_path / "m.onnx")
    answer = shell("reduce", "m.onnx", "--command", "grep -q Exp {} && exit 7", "-o", "small.onnx", "--json")
    told = json.loads(answer.stdout)
    assert (told["shows"], told["nodes_before"], told["nodes_after"]) == (["exit 7"], 10, 1)


def test_a_model_that_does_not_fail_is_a_no(shell, tmp_path: Path) -> None:
    chain(tmp_path / "m.onnx")
    answer = shell("reduce", "m.onnx", "--command", "true {}", "-o", "small.onnx")
    assert answer.returncode == 1
    assert b"nothing goes wrong with this model" in answer.stderr
    assert not (tmp_path / "small.onnx").exists()


def test_a_request_without_a_failure_to_look_for_is_wrong(shell, tmp_path: Path) -> None:
    chain(tmp_path / "m.onnx")
    answer = shell("reduce", "m.onnx", "-o", "small.onnx")
    assert answer.returncode == 2
    assert b"say what goes wrong in one way" in answer.stderr
