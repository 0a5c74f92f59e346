"""A small network, and ways to make another of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Edit = Callable[[onnx.ModelProto], None]


def network() -> onnx.ModelProto:
    """Two blocks of Conv, BatchNormalization, Relu, then a pool and a Gemm; the batch is free."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []

    def weight(name: str, array: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    value = "x"
    for block in range(2):
        w = weight(f"w{block}", rng.standard_normal((4, 3 if block == 0 else 4, 3, 3)) / 5)
        norm = [weight(f"{part}{block}", rng.random(4) + 0.5) for part in ("scale", "shift", "mean", "variance")]
        nodes += [
            helper.make_node("Conv", [value, w], [f"c{block}"], f"conv{block}", pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", [f"c{block}", *norm], [f"n{block}"], f"norm{block}"),
            helper.make_node("Relu", [f"n{block}"], [f"r{block}"], f"relu{block}"),
        ]
        value = f"r{block}"
    nodes += [
        helper.make_node("GlobalAveragePool", [value], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", weight("wg", rng.standard_normal((4, 5)))], ["y"], "gemm", alpha=1.0),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """The network's file."""
    onnx.save(network(), tmp_path / "first.onnx")
    return tmp_path / "first.onnx"


@pytest.fixture
def edited(tmp_path: Path) -> Callable[[Edit], Path]:
    """Writes the network with something changed."""

    def write(edit: Edit) -> Path:
        proto = network()
        edit(proto)
        onnx.save(proto, tmp_path / "second.onnx")
        return tmp_path / "second.onnx"

    return write
