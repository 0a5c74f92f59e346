"""Which sizes a run gives to dimensions that the model leaves open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

Shell = Callable[..., Any]


def _pooling(path: Path, shape: str) -> Path:
    graph = f"g (float[{shape}] x) => (float[a, b, c, d] y) {{ y = GlobalMaxPool(x) }}"
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {graph}')
    for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim, ("?", "", "?", "?"), strict=True):
        if name:
            dim.dim_param = name
    onnx.save(model, path)
    return path


def test_samples_settle_dimensions_without_a_name_before_dim_does(here: Shell, tmp_path: Path) -> None:
    """PaddlePaddle writes "?" for each dimension that it does not know, so one number for all of them is a guess."""
    model = _pooling(tmp_path / "m.onnx", "1, 3, 1, 1")
    np.savez(tmp_path / "data.npz", x=np.ones((1, 3, 6, 9), np.float32))
    assert here("run", str(model), "--dim", "?=9", "--calibration", "data.npz", "-o", "out.onnx").code == 0
    shape = onnx.load(tmp_path / "out.onnx").graph.input[0].type.tensor_type.shape
    assert [dim.dim_value for dim in shape.dim] == [1, 3, 6, 9]


def test_without_samples_one_number_sets_all_dimensions_without_a_name(here: Shell, tmp_path: Path) -> None:
    model = _pooling(tmp_path / "m.onnx", "1, 3, 1, 1")
    assert here("run", str(model), "--dim", "?=9", "-o", "out.onnx").code == 0
    shape = onnx.load(tmp_path / "out.onnx").graph.input[0].type.tensor_type.shape
    assert [dim.dim_value for dim in shape.dim][1:] == [3, 9, 9]
