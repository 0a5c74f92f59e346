"""What inference says of sizes and of shape tensors is what they are, whatever numbers stand for the symbols."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, parser

from graphopt.ir import infer_shapes, load, shape_of
from graphopt.ir.symbolic import Dim, broadcast, partial_of
from graphopt.verify import run

HEADER = '<ir_version: 9, opset_import: ["": 17]>\n'


def number(name: str | int | None, sizes: Mapping[str, int]) -> int | None:
    """What the name of a dimension stands for, None where inference made it up."""
    if name is None or isinstance(name, int):
        return name
    functions = {"floor": int, "broadcast": lambda a, b: b if a == 1 else a, "slice": _slice_length}
    try:
        return int(eval(re.sub(r"\)/\(", ")//(", name), {"min": min, "max": max, **functions}, dict(sizes)))
    except NameError:
        return None


def _slice_length(size: int, start: int, end: int, step: int) -> int:
    end = None if step < 0 and end < -size else end  # type: ignore[assignment]
    return len(range(size)[max(start, -size) : end : step])


class Builder:
    """A random model of operators that compute sizes, all of its values outputs."""

    def __init__(self, source: random.Random) -> None:
        self.source, self.nodes, self.count = source, [], 0
        self.tensors = ["x", "y"]  # float, rank 2
        self.vectors: list[str] = []  # int64, rank 1
        self.constants: list[onnx.TensorProto] = []

    def constant(self, *numbers: int) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.array(numbers, np.int64), name))
        return name

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        self.count += 1
        self.nodes.append(helper.make_node(op, inputs, [f"v{self.count}"], **attributes))
        return f"v{self.count}"

    def step(self) -> None:
        pick = self.source.choice
        x = pick(self.tensors)
        vector = pick(self.vectors) if self.vectors else self.node("Shape", x)
        n, axis = self.source.randint(-3, 3), self.source.randint(0, 1)
        steps: list[Callable[[], tuple[str, bool]]] = [
            lambda: (self.node("Shape", x), False),
            lambda: (self.node("Gather", self.node("Shape", x), self.constant(axis)), False),
            lambda: (self.node(pick(["Add", "Sub", "Mul", "Max", "Min"]), vector, self.constant(n)), False),
            lambda: (self.node(pick(["Div", "Mod"]), vector, self.constant(2)), False),
            lambda: (self.node(pick(["Add", "Max", "Min"]), vector, self.node("Size", x)), False),
            lambda: (self.node("Slice", vector, self.constant(n), self.constant(9)), False),
            lambda: (self.node("Concat", x, x, axis=axis), True),
            lambda: (self.node("Flatten", x, axis=axis), True),
            lambda: (self.node("Transpose", x), True),
            lambda: (self.node("Pad", x, self.constant(axis, 1, 0, 2)), True),
            lambda: (self.node("Slice", x, self.constant(abs(n)), self.constant(9), self.constant(axis)), True),
            lambda: (self.node("Slice", x, self.constant(0), self.constant(n), self.constant(axis)), True),
            lambda: (self.node("Slice", x, *(self.constant(i) for i in (-1, -9, axis, -1))), True),
            lambda: (self.node("Slice", x, self.constant(0), self.one(vector), self.constant(axis)), True),
            lambda: (self.node("Tile", x, self.constant(2, axis)), True),
            lambda: (self.node("Expand", self.node("ReduceSum", x, self.constant(axis)), self.node("Shape", x)), True),
            lambda: (self.node("Reshape", x, self.constant(-1, 1)), True),
            lambda: (self.node("Reshape", x, self.node("Shape", x)), True),
            lambda: (self.node("MatMul", x, self.node("Transpose", x)), True),
            lambda: (self.node("Add", x, self.node("ReduceSum", x, self.constant(axis))), True),
        ]  # fmt: skip
        made, tensor = pick(steps)()
        (self.tensors if tensor else self.vectors).append(made)

    def one(self, vector: str) -> str:
        """The largest of a vector, as a vector."""
        return self.node("ReduceMax", self.node("Concat", vector, self.constant(0), axis=0), axes=[0])

    def model(self) -> ir.Model:
        made = [helper.make_empty_tensor_value_info(n.output[0]) for n in self.nodes]
        inputs = [helper.make_tensor_value_info("x", 1, ["N", "M"]), helper.make_tensor_value_info("y", 1, ["N", 3])]
        graph = helper.make_graph(self.nodes, "g", inputs, made, self.constants)
        return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9))


@given(source=st.randoms(use_true_random=False), steps=st.integers(1, 8), sizes=st.tuples(*[st.integers(0, 5)] * 2))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_shapes_and_contents_are_those_of_a_run(source: random.Random, steps: int, sizes: tuple[int, int]) -> None:
    builder = Builder(source)
    for _ in range(steps):
        builder.step()
    model = builder.model()
    infer_shapes(model)
    known = dict(zip("NM", sizes, strict=True))
    feeds = {"x": np.zeros(sizes, np.float32), "y": np.zeros((sizes[0], 3), np.float32)}
    (found,) = run(model, [feeds])
    for value in model.graph.outputs:
        assert value.name is not None
        array, shape, held = np.asarray(found[value.name]), shape_of(value), partial_of(value)
        if shape is not None:
            expected = [number(d if isinstance(d, int) else d.value, known) for d in shape]
            assert [n if n is not None else m for n, m in zip(expected, array.shape, strict=True)] == list(array.shape)
        if held is not None:
            items = held if isinstance(held, tuple) else (held,)
            for item, element in zip(items, array.reshape(-1), strict=True):
                assert number(item.number if item.number is not None else str(item), known) in (int(element), None)


def inferred(text: str, name: str) -> list[int | str | None] | None:
    """The shape of a value of a model, after inference."""
    model = load(parser.parse_model(HEADER + text))
    infer_shapes(model)
    shape = next(shape_of(v) for node in model.graph for v in node.outputs if v.name == name)
    return None if shape is None else [d if isinstance(d, int) else d.value for d in shape]


@pytest.mark.parametrize(
    ("a", "b", "both"),
    [
        (Dim.of("N"), Dim.of(1), Dim.of("N")),
        (Dim.of("N"), Dim.of(3), Dim.of(3)),
        (Dim.of("N"), Dim.of(0), Dim.of(0)),
        (Dim.of("min(512, S)"), Dim.of("S"), Dim.of("S")),
        (Dim.of("N") * Dim.of(2), Dim.of("S"), Dim.of("N") * Dim.of(2)),
        (Dim.of("N"), Dim.of("S"), Dim.of("broadcast(N, S)")),
    ],
)
def test_two_sizes_broadcast_to_the_only_one_that_is_possible(a: Dim, b: Dim, both: Dim) -> None:
    assert broadcast(a, b) == both == broadcast(b, a)


def test_positions_cut_from_a_table_are_as_many_as_the_tokens_they_are_added_to() -> None:
    text = """
        g (float[B, S, 8] x) => (y) <float[1, 512, 8] table, int64 one = {1}, int64[1] axis = {0}, int64[1] at = {1}> {
            s = Shape (x)
            n = Gather (s, one)
            end = Unsqueeze (n, axis)
            cut = Slice (table, axis, end, at)
            y = Add (x, cut)
        }"""
    table = onnx.numpy_helper.from_array(np.zeros((1, 512, 8), np.float32), "table")
    proto = parser.parse_model(HEADER + text.replace("float[1, 512, 8] table, ", ""))
    proto.graph.initializer.append(table)
    model = load(proto)
    infer_shapes(model)
    shape = shape_of(model.graph.outputs[0])
    assert shape is not None
    assert [d if isinstance(d, int) else d.value for d in shape] == ["B", "S", 8]


def test_sizes_after_convolutions_with_a_stride_stay_short() -> None:
    layers = " ".join(f"a{i + 1} = MaxPool <kernel_shape = [1], strides = [2]> (a{i})" for i in range(6))
    text = f"g (float[1, 1, W] a0) => (y) {{ {layers} y = Relu (a6) }}"
    assert inferred(text, "y") == [1, 1, "floor((W + -1)/(64)) + 1"]


def test_a_name_that_the_user_gave_is_never_taken_for_one_that_inference_made_up() -> None:
    for name in ("unk__214", "_d1_7", "2", "a*b"):
        text = "g (float[N, 4] x) => (y) { p = Relu (x) y = Add (p, x) }"
        model = load(parser.parse_model(HEADER + text))
        model.graph.inputs[0].shape = ir.Shape([name, 4])
        infer_shapes(model)
        assert [str(d) for d in shape_of(model.graph.outputs[0]) or ()] == [name, "4"]


def test_both_branches_of_an_if_say_the_shape_of_its_output() -> None:
    text = """
        g (float[N, 2] x, bool p) => (y) {
            z = If (p) < then_branch = t () => (a) { a = Exp (x) }, else_branch = e () => (b) { b = Neg (x) } >
            y = Relu (z)
        }"""
    assert inferred(text, "y") == ["N", 2]


def test_branches_of_different_rank_say_nothing() -> None:
    text = """
        g (float[N, 2] x, bool p) => (y) <int64[1] axis = {0}> {
            z = If (p) <
                then_branch = t () => (a) { a = Exp (x) },
                else_branch = e () => (b) { b = Unsqueeze (x, axis) }
            >
            y = Relu (z)
        }"""
    assert inferred(text, "y") is None
