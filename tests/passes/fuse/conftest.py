"""What the tests of fusions share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphopt.ir import load
from graphopt.verify import generate, run

Fuse = Callable[..., list[str]]


@pytest.fixture(scope="session")
def fused(apply: Callable[..., ir.Model]) -> Fuse:
    """Apply passes in a row to a model's text, check that it computes the same, and tell which operators are left."""

    def fused(text: str, *passes: str, dims: dict[str, int] | None = None) -> list[str]:
        before = load(onnx.parser.parse_model(text))
        after: object = text
        for name in passes:
            after = apply(name, onnx.parser.parse_model(after) if isinstance(after, str) else ir.to_proto(after))
        assert isinstance(after, ir.Model)
        samples = generate(before, dims=dims or {}, samples=2)
        for expected, actual in zip(run(before, samples), run(after, samples), strict=True):
            assert list(expected) == list(actual)
            for name, array in expected.items():
                assert array.shape == actual[name].shape
                np.testing.assert_allclose(actual[name], array, rtol=1e-3, atol=1e-4)
        nodes = ir.traversal.RecursiveGraphIterator(after.graph)
        return [node.op_type for node in nodes if node.op_type != "Constant"]

    return fused
