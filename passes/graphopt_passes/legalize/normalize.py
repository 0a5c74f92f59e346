"""Normalizations over the last axis, as the operator of the opset where there is one, else written out."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.rewrite.rule import Builder
from graphopt_passes.axes import reduce

_LAYER_SINCE, _RMS_SINCE = 17, 23


def layer_norm(
    op: Builder, x: ir.Value, gamma: ir.Value | None, beta: ir.Value | None, epsilon: float, dtype: ir.DataType
) -> ir.Value:
    """(x − mean) / √(variance + ε) · γ + β over the last axis (Ba et al., arXiv:1607.06450, section 3)."""
    if op.opset >= _LAYER_SINCE and gamma is not None:
        return op.LayerNormalization(x, gamma, beta, axis=-1, epsilon=epsilon)
    distance = op.Sub(x, mean(op, x))
    return _affine(
        op, op.Mul(distance, inverse_root(op, mean(op, op.Mul(distance, distance)), epsilon, dtype)), gamma, beta
    )


def rms_norm(op: Builder, x: ir.Value, gamma: ir.Value | None, epsilon: float, dtype: ir.DataType) -> ir.Value:
    """x / √(mean(x²) + ε) · γ over the last axis (Zhang and Sennrich, arXiv:1910.07467, section 4)."""
    if op.opset >= _RMS_SINCE and gamma is not None:
        return op.RMSNormalization(x, gamma, axis=-1, epsilon=epsilon)
    return _affine(op, op.Mul(x, inverse_root(op, mean(op, op.Mul(x, x)), epsilon, dtype)), gamma, None)


def mean(op: Builder, x: ir.Value) -> ir.Value:
    """The mean over the last axis, which stays with size 1."""
    found: ir.Value = reduce(op, "ReduceMean", x, [-1])
    return found


def inverse_root(op: Builder, variance: ir.Value, epsilon: float, dtype: ir.DataType) -> ir.Value:
    """1 / √(variance + ε)."""
    found: ir.Value = op.Reciprocal(op.Sqrt(op.Add(variance, np.array(epsilon, dtype.numpy()))))
    return found


def _affine(op: Builder, x: ir.Value, gamma: ir.Value | None, beta: ir.Value | None) -> ir.Value:
    scaled = x if gamma is None else op.Mul(x, gamma)
    return scaled if beta is None else op.Add(scaled, beta)
