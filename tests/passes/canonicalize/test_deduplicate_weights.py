"""Of weights that are the same bit by bit one stays; nothing that only looks alike goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from graphopt.ir import infer_shapes, load, save, validate
from graphopt.pipeline import PASSES, Context

Apply = Callable[..., ir.Model]
NAME = "deduplicate-weights"


def model(*arrays: np.ndarray) -> onnx.ModelProto:
    """A model that adds up weights w0, w1, …"""
    kind = helper.np_dtype_to_tensor_dtype(arrays[0].dtype)
    names = [f"w{i}" for i in range(len(arrays))]
    nodes = [helper.make_node("Add", ["x" if i == 0 else f"v{i}", n], [f"v{i + 1}"]) for i, n in enumerate(names)]
    weights = [numpy_helper.from_array(array, name) for array, name in zip(arrays, names, strict=True)]
    info = [helper.make_tensor_value_info(name, kind, arrays[0].shape) for name in ("x", f"v{len(arrays)}")]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def left(model: ir.Model) -> list[str]:
    return list(model.graph.initializers)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.int8])
def test_equal_weights_become_one(apply: Apply, dtype: type) -> None:
    array = np.arange(5000).astype(dtype)
    assert left(apply(NAME, model(array, array + dtype(1), array.copy()))) == ["w0", "w1"]


@pytest.mark.parametrize("place", [0, 1234, 4999])
def test_one_bit_makes_them_two(apply: Apply, place: int) -> None:
    array = np.zeros(5000, np.float32)
    other = array.copy()
    other[place] = -0.0
    assert left(apply(NAME, model(array, other))) == ["w0", "w1"]


def test_shape_and_type_belong_to_a_weight(apply: Apply) -> None:
    after = apply(NAME, """
        <ir_version: 9, opset_import: ["": 17]>
        g (float[1] x) => (y) <float[1] a = {0}, float b = {0}, int32[1] c = {0}> {
            p = Add (x, a) q = Add (p, b) r = Cast <to = 1> (c) y = Add (q, r)
        }""")  # fmt: skip
    assert left(after) == ["a", "b", "c"]


def test_a_default_that_the_caller_may_override_is_left_alone(apply: Apply) -> None:
    after = apply(NAME, """
        <ir_version: 9, opset_import: ["": 17]>
        g (float[1] x, float[1] a) => (y) <float[1] a = {2}, float[1] b = {2}> { p = Add (x, a) y = Add (p, b) }
        """)  # fmt: skip
    assert left(after) == ["a", "b"]


def test_a_weight_that_is_an_output_stays_and_serves_the_others(apply: Apply) -> None:
    proto = model(np.ones(3, np.float32), np.ones(3, np.float32))
    proto.graph.output.append(helper.make_tensor_value_info("w1", 1, [3]))
    after = apply(NAME, proto)
    assert left(after) == ["w1"]
    assert [v.name for v in after.graph.outputs] == ["v2", "w1"]


def test_a_body_reads_the_weight_of_the_graph_around_it(apply: Apply) -> None:
    branch = helper.make_graph(
        [helper.make_node("Add", ["x", "inner"], ["b"])], "t", [], [helper.make_tensor_value_info("b", 1, [2])],
        [numpy_helper.from_array(np.ones(2, np.float32), "inner")],
    )  # fmt: skip
    other = helper.make_graph(
        [helper.make_node("Add", ["x", "outer"], ["c"])], "e", [], [helper.make_tensor_value_info("c", 1, [2])]
    )
    node = helper.make_node("If", ["p"], ["y"], then_branch=branch, else_branch=other)
    inputs = [helper.make_tensor_value_info("x", 1, [2]), helper.make_tensor_value_info("p", 9, [])]
    weight = numpy_helper.from_array(np.ones(2, np.float32), "outer")
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", 1, [2])], [weight])
    after = apply(NAME, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9))
    assert [len(g.initializers) for g in after.graphs()] == [1, 0, 0]


def test_external_weights_are_compared_in_pieces_and_not_kept(tmp_path: Path) -> None:
    array = np.arange(1 << 20, dtype=np.float32)
    onnx.save(model(array, array + 1, array), tmp_path / "m.onnx", save_as_external_data=True, location="m.data")
    loaded = load(tmp_path / "m.onnx")
    infer_shapes(loaded)
    PASSES.find(NAME).load()().run(loaded, Context())
    validate(loaded)
    assert left(loaded) == ["w0", "w1"]
    assert all(v.const_value.raw is None for v in loaded.graph.initializers.values())
    save(loaded, tmp_path / "out.onnx")
    assert sum(f.stat().st_size for f in tmp_path.glob("out*")) < 2.1 * array.nbytes
