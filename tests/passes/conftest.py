"""What the tests of passes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import onnx_ir as ir
import pytest

from graphopt.ir import infer_shapes, load, validate
from graphopt.pipeline import PASSES, Context


@pytest.fixture(scope="session")
def apply() -> Callable[..., ir.Model]:
    """Run a registered pass, by name, on a model or on its text."""

    def run(name: str, source: str | onnx.ModelProto, **options: Any) -> ir.Model:
        model = load(onnx.parser.parse_model(source) if isinstance(source, str) else source)
        infer_shapes(model)
        result = PASSES.find(name).load()(**options).run(model, Context())
        after = result.model or model
        validate(after)
        return after

    return run
