"""What numpy folds is to the bit what onnxruntime computes, and what might not be is left to onnxruntime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from graphopt.ir.edit import adopt_opsets
from graphopt.ir.plain import _FUNCTIONS, compute

Rng = np.random.Generator
Case = tuple[list[np.ndarray | None], dict[str, object]]
OPSET = 17
SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-42, -1e38, 16777217.0, 0.1])
FLOATS, SIGNED = (np.float32, np.float64), (np.int32, np.int64)


def floats(rng: Rng, shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    """Random numbers among which every special one may be."""
    made = rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 6)
    return np.where(rng.random(shape) < 0.3, rng.choice(SPECIAL, shape), made).astype(dtype)


def numbers(rng: Rng, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    if np.dtype(dtype).kind == "f":
        return floats(rng, shape, dtype)
    if dtype is np.bool_:
        return rng.random(shape) < 0.5
    low = 0 if np.dtype(dtype).kind == "u" else -9
    return rng.integers(low, 9, shape).astype(dtype)


def shape(rng: Rng, ranks: tuple[int, int] = (0, 4), sizes: tuple[int, int] = (1, 4)) -> tuple[int, ...]:
    return tuple(int(n) for n in rng.integers(*sizes, rng.integers(*ranks)))


def part(rng: Rng, full: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts to `full`."""
    kept = full[rng.integers(0, len(full) + 1) :]
    return tuple(1 if rng.random() < 0.4 else n for n in kept)


def binary(*dtypes: type) -> Callable[[Rng], Case]:
    def case(rng: Rng) -> Case:
        dtype, full = dtypes[rng.integers(len(dtypes))], shape(rng)
        return [numbers(rng, full, dtype), numbers(rng, part(rng, full), dtype)], {}

    return case


def unary(*dtypes: type) -> Callable[[Rng], Case]:
    return lambda rng: ([numbers(rng, shape(rng), dtypes[rng.integers(len(dtypes))])], {})


def division(rng: Rng) -> Case:
    (over, under), _ = binary(*FLOATS, *SIGNED)(rng)
    return [over, np.where(under == 0, 3, under).astype(under.dtype) if under.dtype.kind == "i" else under], {}


def modulo(rng: Rng) -> Case:
    (over, under), _ = binary(*SIGNED)(rng)
    return [over, np.where(under == 0, -3, under).astype(under.dtype)], {}


def cast(rng: Rng) -> Case:
    to = rng.choice([TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL])
    return [numbers(rng, shape(rng), (*FLOATS, *SIGNED, np.bool_)[rng.integers(5)])], {"to": int(to)}


def reshape(rng: Rng) -> Case:
    full = shape(rng, (1, 4))
    wanted = [*full[:-2], -1] if len(full) > 1 else [1, -1]
    return [floats(rng, full), np.array([0 if i < len(full) - 2 else n for i, n in enumerate(wanted)])], {}


def slices(rng: Rng) -> Case:
    full = shape(rng, (1, 4), (1, 6))
    axes = rng.permutation(len(full))[: rng.integers(1, len(full) + 1)]
    steps = rng.choice([-3, -2, -1, 1, 2, 3], len(axes))
    return [floats(rng, full), rng.integers(-8, 8, len(axes)), rng.integers(-8, 8, len(axes)), axes, steps], {}


def gather(rng: Rng) -> Case:
    full = shape(rng, (1, 4))
    axis = int(rng.integers(-len(full), len(full)))
    return [floats(rng, full), rng.integers(-full[axis], full[axis], shape(rng, (0, 3)))], {"axis": axis}


def concat(rng: Rng) -> Case:
    full = shape(rng, (1, 4))
    return [floats(rng, full) for _ in range(rng.integers(1, 4))], {"axis": int(rng.integers(-len(full), len(full)))}


def transpose(rng: Rng) -> Case:
    full = shape(rng, (1, 5))
    return [floats(rng, full)], {"perm": [int(n) for n in rng.permutation(len(full))]} if rng.random() < 0.7 else {}


def unsqueeze(rng: Rng) -> Case:
    full = shape(rng)
    return [floats(rng, full), rng.permutation(len(full) + 2)[:2]], {}


def squeeze(rng: Rng) -> Case:
    full = (1, *shape(rng), 1)
    return [floats(rng, full), *([np.array([0, -1])] if rng.random() < 0.5 else [])], {}


def expand(rng: Rng) -> Case:
    full = shape(rng)
    return [floats(rng, part(rng, full)), np.array(full, np.int64)], {}


def tile(rng: Rng) -> Case:
    full = shape(rng, (1, 4))
    return [floats(rng, full), rng.integers(0, 3, len(full))], {}


def filled(rng: Rng) -> Case:
    fill = numpy_helper.from_array(numbers(rng, (1,), (*FLOATS, *SIGNED)[rng.integers(4)]))
    return [np.array(shape(rng), np.int64)], {"value": fill} if rng.random() < 0.7 else {}


def counted(rng: Rng) -> Case:
    return [np.array(n, np.int64) for n in (rng.integers(9), rng.integers(9), rng.choice([-2, -1, 1, 2]))], {}


CASES: dict[str, Callable[[Rng], Case]] = {
    **dict.fromkeys(("Add", "Sub", "Mul"), binary(*FLOATS, *SIGNED)), "Div": division, "Mod": modulo,
    **dict.fromkeys(("Min", "Max"), binary(*SIGNED)),
    **dict.fromkeys(("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"), binary(*FLOATS, *SIGNED)),
    **dict.fromkeys(("And", "Or", "Xor"), binary(np.bool_)), "Not": unary(np.bool_),
    **dict.fromkeys(("Neg", "Abs"), unary(*FLOATS, *SIGNED)),
    **dict.fromkeys(("Sqrt", "Floor", "Ceil", "Reciprocal"), unary(*FLOATS)), "Identity": unary(*FLOATS, *SIGNED),
    "Where": lambda rng: ([numbers(rng, (2, 1), np.bool_), floats(rng, (3,)), floats(rng, (2, 3))], {}),
    "Range": counted,
    "Cast": cast, "Reshape": reshape, "Slice": slices, "Gather": gather, "Concat": concat, "Transpose": transpose,
    "Unsqueeze": unsqueeze, "Squeeze": squeeze, "Expand": expand, "Tile": tile, "ConstantOfShape": filled,
}  # fmt: skip


def both(
    op: str, inputs: list[np.ndarray | None], attributes: dict[str, object]
) -> tuple[np.ndarray | None, np.ndarray]:
    """What `compute` and what onnxruntime make of one node of constants."""
    names = [f"i{n}" for n in range(len(inputs))]
    node = helper.make_node(op, names, ["y"], **attributes)
    weights = [numpy_helper.from_array(np.asarray(one), name) for name, one in zip(names, inputs, strict=True)]
    graph = helper.make_graph([node], "one", [], [helper.make_empty_tensor_value_info("y")], weights)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {})
    model = ir.from_proto(proto)
    adopt_opsets(model)
    made = model.graph.node(0)
    made.outputs[0].dtype = ir.DataType.from_numpy(expected.dtype)
    return compute(made, inputs), expected


def test_every_operator_has_cases() -> None:
    assert set(CASES) == set(_FUNCTIONS)


@pytest.mark.parametrize("op", sorted(CASES))
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_bits_are_those_of_onnxruntime(op: str, seed: int) -> None:
    inputs, attributes = CASES[op](np.random.default_rng(seed))
    found, expected = both(op, inputs, attributes)
    if found is None:
        assert op in ("Cast", "Slice"), "only these may decline a plain case"
        return
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    same = found.view(np.uint8) == expected.view(np.uint8) if found.dtype == bool else found == expected
    assert np.all(same | ((found != found) & (expected != expected)))
    # onnxruntime's Where adds what it selects to zeros and so loses the sign of -0, which the standard keeps.
    if found.dtype.kind == "f" and op != "Where":
        assert np.array_equal(np.signbit(found[found == 0]), np.signbit(expected[expected == 0]))


@pytest.mark.parametrize(
    ("op", "inputs", "attributes"),
    [
        ("Cast", [np.array([np.nan, 1e30], np.float32)], {"to": TensorProto.INT32}),
        ("Add", [np.ones(2, np.float16), np.ones(2, np.float16)], {}),
        ("Cast", [np.ones(2, np.float32)], {"to": TensorProto.FLOAT16}),
        ("Exp", [np.ones(2, np.float32)], {}),
        ("Max", [np.ones(2, np.float32), np.ones(2, np.float32)], {}),
    ],
    ids=["overflowing cast", "half precision", "cast to half", "transcendental", "maximum of floats"],
)
def test_what_may_differ_is_left_to_onnxruntime(
    op: str, inputs: list[np.ndarray | None], attributes: dict[str, object]
) -> None:
    found, _ = both(op, inputs, attributes)
    assert found is None


def test_an_integer_division_by_zero_is_left_alone() -> None:
    node = ir.from_proto(helper.make_node("Div", ["a", "b"], ["y"]))
    node.outputs[0].dtype = ir.DataType.INT64
    assert compute(node, [np.array([1, 2]), np.array([1, 0])]) is None
