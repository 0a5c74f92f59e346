"""Models become small, and stay what they were asked to stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.errors import UserError
from graphopt.reduce import reduce
from graphopt.reduce.behavior import of_command, of_run


def model(nodes: list[Any], shape: list[int], **constants: np.ndarray) -> Any:
    """From x to y, both of one shape."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    held = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def chain(*kinds: str) -> list[Any]:
    names = ["x", *(f"v{i}" for i in range(len(kinds) - 1)), "y"]
    return [helper.make_node(kind, [a], [b]) for kind, a, b in zip(kinds, names[:-1], names[1:], strict=True)]


def holds(*kinds: str) -> Callable[[Any], bool]:
    """A valid model in which these operators stand one behind another."""

    def ask(one: Any) -> bool:
        try:
            onnx.checker.check_model(one, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
            return False
        found = [node.op_type for node in one.graph.node]
        return any(tuple(found[i : i + len(kinds)]) == kinds for i in range(len(found)))

    return ask


def operators(one: Any) -> list[str]:
    return [node.op_type for node in one.graph.node]


def test_what_is_not_needed_goes_and_the_original_stays() -> None:
    large = model(chain(*["Relu"] * 20, "Exp", "Neg", *["Abs"] * 20), [2, 3, 4])
    before = large.SerializeToString()
    found = reduce(large, holds("Exp", "Neg"))
    assert operators(found.model) == ["Exp", "Neg"]
    assert (found.nodes_before, found.nodes_after, found.finished) == (42, 2, True)
    assert large.SerializeToString() == before


def test_few_models_are_tried() -> None:
    found = reduce(model(chain(*["Relu"] * 300, "Exp", *["Relu"] * 300), [2]), holds("Exp"))
    assert operators(found.model) == ["Exp"]
    assert found.tried < 100


def test_sizes_and_constants_become_simple() -> None:
    weights = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    found = reduce(model([helper.make_node("MatMul", ["x", "w"], ["y"])], [8, 64], w=weights), holds("MatMul"))
    (held,) = (numpy_helper.to_array(one) for one in found.model.graph.initializer)
    assert held.shape == (1, 1)
    assert held == 0


def test_an_if_loses_what_nobody_reads() -> None:
    branches = {}
    for name, kinds in (("then_branch", ("Neg", "Abs")), ("else_branch", ("Exp", "Sqrt"))):
        ends = [helper.make_tensor_value_info(f"{name}{i}", TensorProto.FLOAT, [2]) for i in range(2)]
        nodes = [helper.make_node(kind, ["x"], [end.name]) for kind, end in zip(kinds, ends, strict=True)]
        branches[name] = helper.make_graph(nodes, name, [], ends)
    nodes = [
        helper.make_node("If", ["c"], ["one", "other"], **branches),
        helper.make_node("Add", ["one", "other"], ["y"]),
    ]
    found = reduce(model(nodes, [2], c=np.array(True)), holds("If"))
    assert operators(found.model) == ["If"]
    (node,) = found.model.graph.node
    assert [len(attribute.g.node) for attribute in node.attribute] == [1, 1]


def test_the_time_is_kept_and_the_smallest_so_far_is_given() -> None:
    found = reduce(model(chain(*["Relu"] * 50), [2]), holds("Relu"), seconds=0)
    assert not found.finished
    assert len(found.model.graph.node) == 50


def test_a_command_shows_how_it_ends() -> None:
    one = model(chain("Relu"), [2])
    assert of_command("exit 0 # {}", seconds=10)(one) == ()
    assert of_command("exit 3 # {}", seconds=10)(one) == ("exit 3",)
    assert of_command("kill -SEGV $$ # {}", seconds=10)(one) == ("SIGSEGV",)
    assert of_command("sleep 60 # {}", seconds=0.2)(one) == ("no end in 0.2 s",)
    assert of_command("grep -c Relu {}", seconds=10, match="1")(one) == ("exit 0", "1")
    assert of_command("grep -c Relu {}", seconds=10, match="no such words")(one) == ()


def test_a_command_says_where_the_file_goes() -> None:
    with pytest.raises(UserError, match=r"--command needs \{\}"):
        of_command("my_tool", seconds=1)


def test_a_run_without_a_fault_shows_nothing() -> None:
    assert of_run(passes=["fuse"])(model(chain("Relu", "Sigmoid"), [2])) == ()


def test_a_backend_shows_the_first_operator_that_it_lacks() -> None:
    det = model([helper.make_node("Det", ["x"], ["d"]), helper.make_node("Add", ["x", "d"], ["y"])], [3, 3])
    shown = of_run(backend="tflite")(det)
    assert shown == () or "Det" in shown[0]
