"""Matrix products: FULLY_CONNECTED for a matrix of weights, BATCH_MATMUL for two batches of matrices."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt_backends.tflite import layout
from graphopt_backends.tflite.activation import NONE, sole_user, take_activation
from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.lower.unary import require_float
from graphopt_backends.tflite.onnx_node import integer, operand, real, required
from graphopt_backends.tflite.registry import Decline, lowering


@lowering("MatMul")
def matmul(node: ir.Node, e: Emitter) -> None:
    """FULLY_CONNECTED with the bias and activation that follow, where B is a constant matrix; else BATCH_MATMUL."""
    require_float(node, e)
    a, b = required(node, 0), required(node, 1)
    if e.rank(a) >= 2 and e.rank(b) == 2 and e.is_constant(b):
        return _with_weights(node, e, a, b)
    return _batched(node, e, a, b)


def _with_weights(node: ir.Node, e: Emitter, a: ir.Value, b: ir.Value) -> None:
    last = e.rank(a) - 1
    # Only the contracted axis must be last: the others may stay in the order in which they are stored.
    where = e.layout(a) if e.layout(a)[-1] == last else layout.axis_last(e.layout(a), last)
    bias, output = _take_bias(node.outputs[0], e)
    activation, output = take_activation(output, e)
    y = _fully_connected(e, e.read(a, where), e.weights(b, (1, 0)), bias, activation)
    e.write(output, y, where)


def _take_bias(output: ir.Value, e: Emitter) -> tuple[ir.Value | None, ir.Value]:
    """The bias that a following Add of a constant vector is, and the value that then comes out."""
    user = sole_user(output)
    if user is None or user.op_type != "Add" or user.domain:
        return None, output
    other = next((value for value in user.inputs if value is not output), None)
    if other is None or not e.is_constant(other) or e.shape(other) != e.shape(output)[-1:]:
        return None, output
    e.taken.append(user)
    return other, user.outputs[0]


def _fully_connected(
    e: Emitter, x: int, weights: int, bias: ir.Value | None, activation: int, factor: float = 1.0
) -> int:
    units = e.shape_of(weights)[0]
    inputs = [x, weights, e.bias(bias, x, weights, units, factor)]
    return e.op(
        "FULLY_CONNECTED", inputs, (*e.shape_of(x)[:-1], units), "FullyConnectedOptions",
        keepNumDims=len(e.shape_of(x)) != 2, fusedActivationFunction=activation,
        asymmetricQuantizeInputs=e.dtype_of(x) == "float32" and e.dtype_of(weights) == "int8",
    )  # fmt: skip


def _batched(node: ir.Node, e: Emitter, a: ir.Value, b: ir.Value) -> None:
    (left, flip_left), (right, flip_right) = _matrices(a, e), _matrices(b, e)
    if e.rank(a) == 1:
        left = e.reshape(left, (1, *e.shape_of(left)))
    if e.rank(b) == 1:
        right = e.reshape(right, (*e.shape_of(right), 1))
    rank = max(len(e.shape_of(left)), len(e.shape_of(right)))
    left, right = (e.reshape(t, (1,) * (rank - len(e.shape_of(t))) + e.shape_of(t)) for t in (left, right))
    heads = (e.shape_of(left)[:-2], e.shape_of(right)[:-2])
    if rank > 5 or (rank == 5 and heads[0] != heads[1]):
        raise Decline(f"matrices in {rank} axes; LiteRT's BATCH_MATMUL handles 5, and broadcasts 4")
    rows, columns = e.shape_of(left)[-1 if flip_left else -2], e.shape_of(right)[-2 if flip_right else -1]
    made = (*np.broadcast_shapes(*heads), rows, columns)
    y = e.op("BATCH_MATMUL", [left, right], made, "BatchMatMulOptions", adjX=flip_left, adjY=flip_right)
    e.write(node.outputs[0], e.reshape(y, e.shape(node.outputs[0])))


def _matrices(value: ir.Value, e: Emitter) -> tuple[int, bool]:
    """A tensor of `value`'s matrices, and whether they are stored transposed."""
    plain = layout.identity(e.rank(value))
    if len(plain) > 1:
        swapped = (*plain[:-2], plain[-1], plain[-2])
        if plain not in e.layouts(value) and swapped in e.layouts(value):
            return e.read(value, swapped), True
    return e.read(value), False


@lowering("Gemm")
def gemm(node: ir.Node, e: Emitter) -> None:
    """FULLY_CONNECTED of α·A'·B' + β·C; α and β are folded into constants where B and C are."""
    require_float(node, e)
    a, b, c = required(node, 0), required(node, 1), operand(node, 2)
    alpha, beta = real(node, "alpha", 1.0), real(node, "beta", 1.0)
    x = e.read(a, (1, 0) if integer(node, "transA", 0) else (0, 1))
    weights = _scaled(e, b, alpha, (0, 1) if integer(node, "transB", 0) else (1, 0))
    units = e.shape_of(weights)[0]
    addend = None if beta == 0 else c
    is_bias = addend is None or e.shape(addend) in ((units,), (1, units))
    activation, output = NONE, node.outputs[0]
    if is_bias:
        activation, output = take_activation(output, e)
    y = _fully_connected(e, x, weights, addend if is_bias else None, activation, beta)
    if addend is not None and not is_bias:
        term = _scaled(e, addend, beta, layout.identity(e.rank(addend)))
        activation, output = take_activation(output, e)
        y = e.binary("ADD", y, term, activation=activation)
    e.write(output, y)


def _scaled(e: Emitter, value: ir.Value, factor: float, where: layout.Layout) -> int:
    array = e.constant(value)
    if factor == 1.0:
        return e.weights(value, where)
    if array is not None:
        return e.array((np.transpose(array, where) * np.float32(factor)).astype(array.dtype))
    tensor = e.read(value, where)
    return e.binary("MUL", tensor, e.scalar(factor, tensor))
