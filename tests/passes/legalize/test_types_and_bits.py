"""Types that a backend lacks, and arithmetic on the bits of integers, at the ends of their ranges."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from graphopt import optimize
from graphopt.ir import infer_shapes, load
from graphopt.rewrite import apply_rules
from graphopt.testing import registered_rules
from graphopt.verify import run

RULES = {str(one): one.rule for one in registered_rules()}


def model(nodes: list[Any], inputs: dict[str, int], output: int, constants: dict[str, np.ndarray]) -> Any:
    size = [8]
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info(name, dtype, size) for name, dtype in inputs.items()],
        [helper.make_tensor_value_info("y", output, size)],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def applied(proto: Any, *names: str) -> Any:
    changed = load(proto)
    infer_shapes(changed)
    assert apply_rules(changed, [RULES[name] for name in names]).rewrites
    return changed


@pytest.mark.parametrize(
    ("op_type", "expected"),
    [("BitwiseAnd", np.bitwise_and), ("BitwiseOr", np.bitwise_or), ("BitwiseXor", np.bitwise_xor)],
)
def test_planes_of_bits_are_right_at_the_ends_of_int32(op_type: str, expected: Any) -> None:
    a = np.array([-(2**31), 2**31 - 1, -1, 0, 1 << 30, -7, 123456789, -987654321], np.int32)
    b = a[::-1].copy()
    proto = model(
        [helper.make_node(op_type, ["a", "b"], ["y"])], dict.fromkeys("ab", TensorProto.INT32), TensorProto.INT32, {}
    )
    rules = ["union-by-intersection", "difference-by-intersection", "intersection-by-planes"]
    changed = applied(proto, *(f"decompose-bitwise/{name}" for name in rules))
    assert not any(node.op_type.startswith("Bitwise") for node in changed.graph)
    [found] = run(changed, [{"a": a, "b": b}])
    np.testing.assert_array_equal(found["y"], expected(a, b))


def test_nothing_between_inputs_and_outputs_stays_double() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["d"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["d", "c"], ["m"]),
        helper.make_node("Sin", ["m"], ["s"]),
        helper.make_node("Cast", ["s"], ["y"], to=TensorProto.FLOAT),
    ]
    proto = model(nodes, {"x": TensorProto.FLOAT}, TensorProto.FLOAT, {"c": np.array(0.5)})
    recipe = '[[pass]]\nname = "narrow-doubles"\n\n[[pass]]\nname = "canonicalize"\n'
    result = optimize(proto, recipe=recipe)
    assert [node.op_type for node in result.model.graph] == ["Mul", "Sin"]
    assert result.report.verification is not None
    assert result.report.verification.status == "passed"


def test_eight_bit_products_are_computed_in_int32_where_the_table_asks_for_it() -> None:
    pytest.importorskip("ai_edge_litert")
    node = helper.make_node("Mul", ["x", "c"], ["y"])
    constants = {"c": np.array([3, -5, 127, -128, 0, 1, 2, 7], np.int8)}
    proto = model([node], {"x": TensorProto.INT8}, TensorProto.INT8, constants)
    result = optimize(proto, backend="tflite", compile=True)
    assert [node.op_type for node in result.model.graph] == ["Cast", "Mul", "Cast"]
    assert result.report.status == "ok"


def test_int64_is_never_computed_in_fewer_bits() -> None:
    node = helper.make_node("Add", ["x", "c"], ["y"])
    proto = model([node], {"x": TensorProto.INT64}, TensorProto.INT64, {"c": np.array(2)})
    changed = load(proto)
    infer_shapes(changed)
    rules = [rule for name, rule in RULES.items() if name.startswith("compute-in-wider-type/")]
    assert rules
    assert not apply_rules(changed, rules).rewrites
