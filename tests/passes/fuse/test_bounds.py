"""Bounds of a tensor hold for every input, and nothing is claimed of what may be infinite."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest

from graphopt.ir import infer_shapes, load
from graphopt.verify import run
from graphopt_passes.fuse.bounds import bounds

MASKS = {
    "one minus a mask": "c = Cast <to = 1> (i)  d = Sub (one, c)  y = Mul (d, low)",
    "a choice": "b = Cast <to = 9> (i)  y = Where (b, zero, low)",
    "a difference": "b = Cast <to = 9> (i)  c = Cast <to = 1> (b)  y = Sub (zero, c)",
    "a sum of choices": "b = Cast <to = 9> (i)  d = Where (b, zero, low)  e = Neg (d)  y = Add (d, e)",
    "moved about": "b = Cast <to = 9> (i)  c = Cast <to = 1> (b)  d = Transpose (c)  e = Trilu (d)  y = Mul (e, low)",
    "the larger one": "b = Cast <to = 9> (i)  c = Cast <to = 1> (b)  d = Max (c, low)  y = Sub (d, c)",
}
OPEN = {
    "infinite": "b = Cast <to = 9> (i)  y = Where (b, zero, inf)",
    "an input": "y = Add (x, low)",
    "an overflow": "c = Cast <to = 1> (i)  d = Mul (c, huge)  y = Mul (d, huge)",
    "an unknown operator": "c = Cast <to = 1> (i)  y = Exp (c)",
    "too small a type": "c = Cast <to = 10> (i)  y = Cast <to = 1> (c)",
}


def model(body: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17]>
    g (int64[2, 2] i, float[2, 2] x) => (float[2, 2] y)
    <float one = {{1}}, float zero = {{0}}, float low = {{-10000}}, float inf = {{-inf}}, float huge = {{1e30}}>
    {{ {body} }}""".replace("{-inf}", "{0}")
    )


@pytest.mark.parametrize("case", MASKS)
def test_a_mask_lies_within_its_bounds(case: str) -> None:
    proto = model(MASKS[case])
    graph = load(proto)
    infer_shapes(graph)
    found = bounds(graph.graph.outputs[0])
    assert found is not None
    rng = np.random.default_rng(0)
    for high in (2, 100):
        sample = {"i": rng.integers(0, high, (2, 2)), "x": np.zeros((2, 2), np.float32)}
        array = run(graph, [sample])[0]["y"]
        assert found[0] <= array.min()
        assert array.max() <= found[1]


def test_bounds_of_a_choice_are_its_sides() -> None:
    graph = load(model(MASKS["a choice"]))
    infer_shapes(graph)
    assert bounds(graph.graph.outputs[0]) == (-10000, 0)


@pytest.mark.parametrize("case", OPEN)
def test_nothing_is_claimed_of_what_may_be_infinite(case: str) -> None:
    proto = model(OPEN[case])
    infinite = next(one for one in proto.graph.initializer if one.name == "inf")
    infinite.CopyFrom(onnx.numpy_helper.from_array(np.array(-math.inf, np.float32), "inf"))
    graph = load(proto)
    infer_shapes(graph)
    assert bounds(graph.graph.outputs[0]) is None


def test_a_long_chain_ends_the_search() -> None:
    body = "a0 = Cast <to = 1> (i) " + " ".join(f"a{n + 1} = Add (a{n}, a{n})" for n in range(60)) + " y = Neg (a60)"
    graph = load(model(body))
    infer_shapes(graph)
    assert bounds(graph.graph.outputs[0]) is None
