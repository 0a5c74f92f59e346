"""A small model for the manager to work on."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import onnx_ir as ir
import pytest

from graphopt.ir import load


@pytest.fixture
def original() -> Callable[[], ir.Model]:
    """Gives fresh copies of a model with a weight, a symbolic dimension, metadata and a body."""
    proto = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17], producer_name: "me", metadata_props: ["author" : "somebody"]>
        small (float[N,3] x, bool[1] choose) => (float[N,3] y, float[N,3] z)
        <float[3] w = {1.0, -2.0, 3.0}> {
            a = Mul(x, w)
            y = Relu(a)
            z = If (choose) <
                then_branch = one () => (float[N,3] p) { p = Neg(a) },
                else_branch = two () => (float[N,3] q) { q = Exp(x) }
            >
        }""")
    return lambda: load(proto)
