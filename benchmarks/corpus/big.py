"""A decoder of 3 GB with random weights, written without torch and without ever holding it in memory.

24 layers of LayerNormalization, attention of 20 heads over 2,560 channels, and a feed-forward part; batch dynamic. Each
weight goes to the external file as it is drawn. What an optimizer may take away: an Identity a layer.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LAYERS, CHANNELS, HEADS, TOKENS = 24, 2560, 20, 16
_PAGE = 4096


class _Weights:
    """Draws weights and streams them into a file."""

    def __init__(self, out: BinaryIO, location: str) -> None:
        self._out, self._location = out, location
        self._rng = np.random.default_rng(0)
        self.tensors: list[onnx.TensorProto] = []

    def draw(self, name: str, *shape: int) -> str:
        """A matrix that keeps the scale of what it is multiplied with, or a vector around one; returns the name."""
        array = self._rng.standard_normal(shape, dtype=np.float32) / np.float32(np.sqrt(shape[0]))
        if len(shape) == 1:
            array += np.float32(1)
        self._out.write(b"\0" * (-self._out.tell() % _PAGE))
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", self._location), ("offset", self._out.tell()), ("length", array.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        self._out.write(memoryview(array).cast("B"))
        self.tensors.append(tensor)
        return name


def write(path: Path, *, layers: int = LAYERS, channels: int = CHANNELS, heads: int = HEADS) -> None:
    """Write the model to `path` and its weights to `path` + ".data"; 128 MB a layer."""
    each = channels // heads
    small = {
        "split": np.array([0, 0, heads, each]), "join": np.array([0, 0, channels]),
        "scale": np.array(each**-0.5, np.float32),
    }  # fmt: skip
    nodes: list[onnx.NodeProto] = []

    def node(op: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(op, inputs, [output], name=f"{output}.{op}", **attributes))
        return output

    data = path.with_name(f"{path.name}.data")
    with data.open("wb") as out:
        weights = _Weights(out, data.name)
        value = "x"
        for layer in range(layers):
            at = f"layer{layer}"
            scale, shift = weights.draw(f"{at}.scale", channels), weights.draw(f"{at}.shift", channels)
            normal = node("LayerNormalization", [value, scale, shift], f"{at}.normal", axis=-1)
            parts = {}
            for part, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
                flat = node("MatMul", [normal, weights.draw(f"{at}.{part}.w", channels, channels)], f"{at}.{part}")
                split = node("Reshape", [flat, "split"], f"{flat}.split")
                parts[part] = node("Transpose", [split], f"{flat}.heads", perm=order)
            scores = node("MatMul", [parts["query"], parts["key"]], f"{at}.scores")
            scores = node("Softmax", [node("Mul", [scores, "scale"], f"{at}.scaled")], f"{at}.attention", axis=-1)
            mixed = node("MatMul", [scores, parts["value"]], f"{at}.mixed")
            mixed = node("Transpose", [mixed], f"{at}.turned", perm=[0, 2, 1, 3])
            mixed = node("Reshape", [mixed, "join"], f"{at}.joined")
            mixed = node("MatMul", [mixed, weights.draw(f"{at}.out.w", channels, channels)], f"{at}.out")
            value = node("Identity", [node("Add", [value, mixed], f"{at}.added")], f"{at}.same")
            inner = node("MatMul", [value, weights.draw(f"{at}.up.w", channels, channels // 2)], f"{at}.up")
            inner = node("Relu", [inner], f"{at}.bent")
            inner = node("MatMul", [inner, weights.draw(f"{at}.down.w", channels // 2, channels)], f"{at}.down")
            value = node("Add", [value, inner], f"{at}.y")
    shape = ["batch", TOKENS, channels]
    graph = helper.make_graph(
        nodes,
        "big_decoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, name) for name, array in small.items()] + weights.tensors,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
