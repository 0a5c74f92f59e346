"""A model with an operator that no runtime knows: an optimizer has to leave it and clean up around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 64


def custom_operator(path: Path) -> None:
    """Conv, BatchNormalization, Identity, Relu, vendor.ai::FancyResize, two Transposes that cancel, Conv."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((16, 3, 3, 3)) * 0.2, "v": rng.standard_normal((8, 16, 1, 1)) * 0.2,
        "scale": np.full(16, 1.1), "shift": rng.standard_normal(16) * 0.1, "mean": rng.standard_normal(16) * 0.1,
        "variance": np.full(16, 0.9),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["conv"], pads=[1] * 4),
        helper.make_node("BatchNormalization", ["conv", "scale", "shift", "mean", "variance"], ["normal"]),
        helper.make_node("Identity", ["normal"], ["same"]),
        helper.make_node("Relu", ["same"], ["bent"]),
        helper.make_node("FancyResize", ["bent"], ["large"], domain="vendor.ai", factor=2, mode="smooth"),
        helper.make_node("Transpose", ["large"], ["turned"], perm=[0, 2, 3, 1]),
        helper.make_node("Transpose", ["turned"], ["back"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["back", "v"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "custom",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 8, None, None])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("vendor.ai", 1)]
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=9), path)
