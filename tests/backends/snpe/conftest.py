"""What the SNPE tests share: the backend, models in ONNX's text format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import onnx.parser
import pytest

from graphopt_backends.snpe.backend import SnpeBackend


@pytest.fixture(scope="session")
def backend() -> SnpeBackend:
    backend = SnpeBackend()
    if backend.toolchain() is None:
        pytest.skip("onnxruntime-qnn is not installed")
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
