"""What the TensorRT tests share: the backend, models as text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import onnx.parser
import pytest

from graphopt_backends.tensorrt.backend import TensorRTBackend


@pytest.fixture(scope="session")
def backend() -> TensorRTBackend:
    backend = TensorRTBackend()
    if backend.toolchain() is None:
        pytest.skip("TensorRT-RTX is not installed")
    return backend


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write a model given as text, `save("g (float[2] x) => (float[2] y) { y = Relu(x) }")`."""

    def save(graph: str, *, opset: int = 17, ir_version: int = 9, domain: str = "") -> Path:
        imports = f'"": {opset}' + (f', "{domain}": 1' if domain else "")
        model = onnx.parser.parse_model(f"<ir_version: {ir_version}, opset_import: [{imports}]>\n{graph}")
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        return path

    return save
