"""Weighted layers: operators whose output is linear in a constant weight, all seen as one matrix product.

    y[g] = W[g] · x[g] + b        W (groups, outputs, columns), x (groups, columns)

Conv          columns are the elements of a window, C/group · Π kernel of them (im2col)
ConvTranspose columns are the elements of the input that reach one element of the output; taps that fall between the
              strides read 0
Gemm, MatMul  columns are the elements of the last axis
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphopt.ir import constant
from graphopt.ir.schema import attribute

Floats = np.ndarray

KINDS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Layer:
    """A node with a constant weight.

    Attributes:
        node: the node.
        shape: of its weight, as stored.
        groups: of a convolution, else 1.
    """

    node: ir.Node
    shape: tuple[int, ...]
    groups: int = 1

    @property
    def name(self) -> str:
        """The name of its output, which is unique."""
        return self.node.outputs[0].name or ""

    @property
    def input(self) -> ir.Value:
        """What it reads beside its weight and its bias."""
        value = self.node.inputs[0]
        assert value is not None  # the first input of these operators is not optional
        return value

    @property
    def weight(self) -> ir.Value:
        """Its weight: an initializer, or what a DequantizeLinear makes of one."""
        value = self.node.inputs[1]
        assert value is not None
        return value

    @property
    def axis(self) -> int:
        """The axis of the weight along which its outputs lie (of a ConvTranspose: those of one group)."""
        if self.node.op_type == "Conv":
            return 0
        if self.node.op_type == "Gemm":
            return 0 if attribute(self.node, "transB") else 1
        return 1

    @property
    def channel_axis(self) -> int:
        """The axis of the output along which its channels lie."""
        return 1 if self.node.op_type in ("Conv", "ConvTranspose") else -1

    @property
    def outputs(self) -> int:
        """Output channels of all groups."""
        return self.shape[self.axis] * (self.groups if self.node.op_type == "ConvTranspose" else 1)

    @property
    def columns(self) -> int:
        """Columns of one group."""
        return math.prod(self.shape) // (self.outputs if self.groups else 1)

    def matrix(self, weight: np.ndarray) -> np.ndarray:
        """A weight, or its codes, as (groups, outputs of a group, columns of a group)."""
        if self.node.op_type == "ConvTranspose":
            # (C, M/g, …) is (g, C/g, M/g, …)
            split = weight.reshape(self.groups, -1, *self.shape[1:])
            return np.moveaxis(split, 2, 1).reshape(self.groups, self.shape[1], -1)
        rows = weight if self.axis == 0 else weight.T
        return rows.reshape(self.groups, self.shape[self.axis] // self.groups, -1)

    def stored(self, matrix: np.ndarray) -> np.ndarray:
        """The inverse of `matrix`."""
        if self.node.op_type == "ConvTranspose":
            split = matrix.reshape(self.groups, self.shape[1], self.shape[0] // self.groups, *self.shape[2:])
            return np.ascontiguousarray(np.moveaxis(split, 1, 2).reshape(self.shape))
        if self.axis == 0:
            return np.ascontiguousarray(matrix.reshape(self.shape))
        return np.ascontiguousarray(matrix.reshape(self.shape[::-1]).T)


def layer_of(node: ir.Node) -> Layer | None:
    """A node as a layer; None where it is none, or of a form that is not one matrix product a sample.

    A weight that a DequantizeLinear makes of a constant counts as constant.
    """
    if node.op_type not in KINDS or node.domain not in ("", "ai.onnx") or len(node.inputs) < 2:
        return None
    shape = _weight_shape(node.inputs[1])
    if shape is None or node.inputs[0] is None or 0 in shape or not node.outputs[0].name:
        return None
    if constant(node.inputs[0]) is not None:
        return None
    if node.op_type in ("Gemm", "MatMul"):
        if len(shape) != 2 or (node.op_type == "Gemm" and (attribute(node, "transA") or attribute(node, "alpha") != 1)):
            return None
        return Layer(node, shape)
    groups = int(attribute(node, "group"))
    return Layer(node, shape, groups) if len(shape) >= 3 and groups > 0 and shape[0] % groups == 0 else None


def layers_of(model: ir.Model) -> Iterator[Layer]:
    """The layers of the main graph, in its order."""
    for node in model.graph:
        layer = layer_of(node)
        if layer is not None:
            yield layer


def _weight_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    producer = None if value is None else value.producer()
    if producer is not None and producer.op_type == "DequantizeLinear" and producer.inputs:
        value = producer.inputs[0]
    tensor = constant(value)
    if tensor is None or not all(isinstance(d, int) for d in tensor.shape):
        return None
    return tuple(int(d) for d in tensor.shape.numpy())
