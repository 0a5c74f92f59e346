"""Right answers for operators that onnxruntime has a schema of, but no implementation for the CPU: as their words say.

They are written for graphics cards: convolution and group normalization with channels last. The formulas are those of
onnxruntime's operator documentation (ContribOperators.md).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from graphopt.support.case import MICROSOFT


def _channels_last(x: np.ndarray, w: np.ndarray, b: np.ndarray, attributes: dict[str, Any]) -> np.ndarray:
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], **attributes)
    given = {"x": np.moveaxis(x, -1, 1), "w": np.moveaxis(w, -1, 1), "b": b}
    (answer,) = ReferenceEvaluator(node).run(None, given)
    return np.moveaxis(np.asarray(answer), 1, -1)


class NhwcConv(OpRun):  # type: ignore[misc]
    """Conv whose data and weights have the channels last."""

    op_domain = MICROSOFT

    def _run(
        self, x: np.ndarray, w: np.ndarray, b: np.ndarray, kernel_shape: Any = None, pads: Any = None,
        strides: Any = None,
    ) -> tuple[np.ndarray]:  # fmt: skip
        given = {"kernel_shape": kernel_shape, "pads": pads, "strides": strides}
        return (_channels_last(x, w, b, {name: value for name, value in given.items() if value is not None}),)


class NhwcFusedConv(NhwcConv):
    """The same; its activation is left out in the probes."""


def _group_norm(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, groups: int | None, activation: int | None, epsilon: float
) -> np.ndarray:
    grouped = x.reshape(x.shape[0], -1, groups or 1, x.shape[-1] // (groups or 1))
    mean, variance = (f(grouped, axis=(1, 3), keepdims=True) for f in (np.mean, np.var))
    normal = ((grouped - mean) / np.sqrt(variance + epsilon)).reshape(x.shape) * gamma + beta
    return np.asarray(normal / (1 + np.exp(-normal)) if activation else normal, x.dtype)


class GroupNorm(OpRun):  # type: ignore[misc]
    """Group normalization with the channels last; activation 0 is none, 1 is SiLU."""

    op_domain = MICROSOFT

    def _run(
        self, x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, groups: int | None = None,
        activation: int | None = None, epsilon: float = 1e-5,
    ) -> tuple[np.ndarray]:  # fmt: skip
        return (_group_norm(x, gamma, beta, groups, activation, epsilon),)


class SkipGroupNorm(OpRun):  # type: ignore[misc]
    """Group normalization of a sum, and the sum."""

    op_domain = MICROSOFT

    def _run(
        self, x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, skip: np.ndarray, bias: np.ndarray | None = None,
        groups: int | None = None, activation: int | None = None, epsilon: float = 1e-5,
    ) -> tuple[np.ndarray, ...]:  # fmt: skip
        total = x + skip if bias is None else x + skip + bias
        return (_group_norm(total, gamma, beta, groups, activation, epsilon), total)[: len(self.output)]


class BiasAdd(OpRun):  # type: ignore[misc]
    """x + bias + skip."""

    op_domain = MICROSOFT

    def _run(self, x: np.ndarray, bias: np.ndarray, skip: np.ndarray) -> tuple[np.ndarray]:
        return (x + bias + skip,)


class BiasSplitGelu(OpRun):  # type: ignore[misc]
    """(left half) · Gelu(right half) of x + bias, cut along the last axis."""

    op_domain = MICROSOFT

    def _run(self, x: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray]:
        left, right = np.split((x + bias).astype(np.float64), 2, axis=-1)
        gelu = right * 0.5 * (1 + np.vectorize(math.erf)(right / math.sqrt(2)))
        return ((left * gelu).astype(x.dtype),)


OPERATORS: Final = (NhwcConv, NhwcFusedConv, GroupNorm, SkipGroupNorm, BiasAdd, BiasSplitGelu)
"""For `ReferenceEvaluator(new_ops=…)`."""
