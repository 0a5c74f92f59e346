"""The fuzzer finds what is planted: a fuzzer that is always content shows nothing."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from graphopt.fuzz.draw import Drawn
from graphopt.fuzz.run import execute
from graphopt.fuzz.shrink import shrink
from graphopt.fuzz.trial import trial
from graphopt.pipeline import Context, Pass, PassResult, Step


class Planted(Pass):
    """Does to the first Sigmoid what it is told."""

    name, fidelity = "planted", "exact"

    def __init__(self, do) -> None:
        super().__init__()
        self._do = do

    def run(self, model: ir.Model, context: Context) -> PassResult:
        for node in model.graph:
            if node.op_type == "Sigmoid":
                self._do(node)
                return PassResult(1)
        return PassResult(0)


def drawn() -> Drawn:
    """Ten nodes, a Sigmoid in the middle."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    names = ["x", *"abcdefghi", "y"]
    pairs = itertools.pairwise(names)
    kinds = ["Neg", "Abs", "Neg", "Relu", "Sigmoid", "Neg", "Tanh", "Neg", "Abs", "Identity"]
    nodes = [helper.make_node(kind, [a], [b]) for kind, (a, b) in zip(kinds, pairs, strict=True)]
    graph = helper.make_graph(nodes, "g", [x], [y])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    samples = ({"x": np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)},)
    return Drawn(0, proto, samples, tuple(execute(proto, samples)), False, ())


def rename(node: ir.Node) -> None:
    node.op_type = "Tanh"


def misspell(node: ir.Node) -> None:
    node.op_type = "Sigmoidal"


def grow(node: ir.Node) -> None:
    node.graph.inputs[0].shape = ir.Shape([2, 4])


def stumble(node: ir.Node) -> None:
    raise KeyError(node.name)


@pytest.mark.parametrize(
    ("do", "kind"), [(rename, "wrong"), (misspell, "invalid"), (grow, "signature"), (stumble, "crash")]
)
def test_a_planted_mistake_is_found_and_blamed(do, kind: str) -> None:
    failures = trial(drawn(), [Step(Planted(do), "tests")]).failures
    assert [(failure.kind, failure.blamed) for failure in failures] == [(kind, "planted")]


def test_a_failure_is_made_small() -> None:
    one, steps = drawn(), [Step(Planted(rename), "tests")]
    (failure,) = trial(one, steps).failures
    small, passes = shrink(one, steps, None, failure)
    assert [node.op_type for node in small.proto.graph.node] == ["Sigmoid"]
    assert passes == steps
