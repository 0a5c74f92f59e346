"""Functions of one tensor, element by element: a builtin where there is one, a few builtins where there is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from graphopt_backends.tflite.activation import bounds
from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.onnx_node import integer, operand, real, required, text
from graphopt_backends.tflite.registry import Decline, lowering

_BUILTINS = {
    "Abs": "ABS",
    "Ceil": "CEIL",
    "Cos": "COS",
    "Exp": "EXP",
    "Floor": "FLOOR",
    "HardSwish": "HARD_SWISH",
    "Log": "LOG",
    "Neg": "NEG",
    "Not": "LOGICAL_NOT",
    "Relu": "RELU",
    "Round": "ROUND",
    "Sigmoid": "LOGISTIC",
    "Sign": "SIGN",
    "Sin": "SIN",
    "Sqrt": "SQRT",
    "Tanh": "TANH",
}
_CLIPS = {(0.0, None): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1", (0.0, 1.0): "RELU_0_TO_1"}


def elementwise(node: ir.Node, e: Emitter, compute: Callable[[int], int]) -> None:
    """Write `compute(x)` of the node's first input, in the layout in which that is stored."""
    x = required(node, 0)
    where = e.layout(x)
    e.write(node.outputs[0], compute(e.read(x, where)), where)


def require_float(node: ir.Node, e: Emitter) -> None:
    """Decline what is not float32, where the builtins used would compute something else or nothing.

    Raises:
        Decline: the first input is not float32.
    """
    dtype = e.dtype(required(node, 0))
    if dtype != "float32":
        raise Decline(f"it is lowered for float32 only, not for {dtype}")


@lowering(*_BUILTINS)
def builtin(node: ir.Node, e: Emitter) -> None:
    """Operators that are one builtin without options."""
    elementwise(node, e, lambda x: e.unary(_BUILTINS[node.op_type], x))


@lowering("LeakyRelu")
def leaky_relu(node: ir.Node, e: Emitter) -> None:
    """LEAKY_RELU; ONNX's slope defaults to 0.01."""
    alpha = real(node, "alpha", 0.01)
    elementwise(node, e, lambda x: e.unary("LEAKY_RELU", x, "LeakyReluOptions", alpha=alpha))


@lowering("Gelu")
def gelu(node: ir.Node, e: Emitter) -> None:
    """GELU, exact or by tanh."""
    approximate = text(node, "approximate", "none") == "tanh"
    elementwise(node, e, lambda x: e.unary("GELU", x, "GeluOptions", approximate=approximate))


@lowering("Clip")
def clip(node: ir.Node, e: Emitter) -> None:
    """A RELU with the same bounds, else MAXIMUM and MINIMUM; bounds may be computed at run time."""
    if any(value is not None and e.constant(value) is None for value in node.inputs[1:]):
        return _clip_at_run_time(node, e)
    low, high = bounds(node, e)
    relu = _CLIPS.get((low, high)) if e.dtype(required(node, 0)) == "float32" else None  # type: ignore[arg-type]

    def compute(x: int) -> int:
        if relu:
            return e.unary(relu, x)
        if low is not None:
            x = e.binary("MAXIMUM", x, e.scalar(low, x))
        if high is not None:
            x = e.binary("MINIMUM", x, e.scalar(high, x))
        return x

    return elementwise(node, e, compute)


def _clip_at_run_time(node: ir.Node, e: Emitter) -> None:
    def compute(x: int) -> int:
        for index, name in ((1, "MAXIMUM"), (2, "MINIMUM")):
            limit = operand(node, index)
            if limit is not None:
                x = e.binary(name, x, e.reshape(e.read(limit), ()))
        return x

    elementwise(node, e, compute)


@lowering("HardSigmoid")
def hard_sigmoid(node: ir.Node, e: Emitter) -> None:
    """relu6(6·α·x + 6·β) / 6 = clip(α·x + β, 0, 1), with the RELU6 fused into the addition."""
    require_float(node, e)
    alpha, beta = real(node, "alpha", 0.2), real(node, "beta", 0.5)

    def compute(x: int) -> int:
        slope = 6 * alpha
        if abs(slope - 1) > 1e-6:
            x = e.binary("MUL", x, e.scalar(slope, x))
        x = e.binary("ADD", x, e.scalar(6 * beta, x), activation=3)
        return e.binary("MUL", x, e.scalar(1 / 6, x))

    elementwise(node, e, compute)


@lowering("Elu", "Celu", "Selu")
def elu(node: ir.Node, e: Emitter) -> None:
    """ELU for a slope of 1; else γ·(max(x, 0) + α·elu(min(x / s, 0))), with s = α for Celu and 1 for the others."""
    require_float(node, e)
    selu = node.op_type == "Selu"
    alpha = real(node, "alpha", 1.67326319217681884765625 if selu else 1.0)
    gamma = real(node, "gamma", 1.05070102214813232421875) if selu else 1.0
    scale = alpha if node.op_type == "Celu" else 1.0

    def compute(x: int) -> int:
        if alpha == 1.0 and gamma == 1.0:
            return e.unary("ELU", x)
        low = e.binary("MINIMUM", x, e.scalar(0.0, x))
        if scale != 1.0:
            low = e.binary("MUL", low, e.scalar(1 / scale, x))
        low = e.binary("MUL", e.unary("ELU", low), e.scalar(alpha * gamma, x))
        high = e.unary("RELU", x)
        if gamma != 1.0:
            high = e.binary("MUL", high, e.scalar(gamma, x))
        return e.binary("ADD", high, low)

    elementwise(node, e, compute)


def softplus_of(e: Emitter, x: int) -> int:
    """max(x, 0) + log(1 + exp(-|x|)), which does not overflow."""
    tail = e.unary("EXP", e.unary("NEG", e.unary("ABS", x)))
    return e.binary("ADD", e.unary("RELU", x), e.unary("LOG", e.binary("ADD", tail, e.scalar(1.0, x))))


@lowering("Softplus", "Mish", "Softsign", "Swish", "ThresholdedRelu", "Shrink", "Reciprocal")
def composed(node: ir.Node, e: Emitter) -> None:
    """Activations without a builtin, written with the formulas of ONNX's operator documentation."""
    require_float(node, e)
    name = node.op_type

    def compute(x: int) -> int:
        match name:
            case "Softplus":
                return softplus_of(e, x)
            case "Mish":
                return e.binary("MUL", x, e.unary("TANH", softplus_of(e, x)))
            case "Softsign":
                return e.binary("DIV", x, e.binary("ADD", e.unary("ABS", x), e.scalar(1.0, x)))
            case "Swish":
                alpha = real(node, "alpha", 1.0)
                inner = x if alpha == 1.0 else e.binary("MUL", x, e.scalar(alpha, x))
                return e.binary("MUL", x, e.unary("LOGISTIC", inner))
            case "ThresholdedRelu":
                above = e.binary("GREATER", x, e.scalar(real(node, "alpha", 1.0), x), dtype="bool")
                return e.elementwise("SELECT_V2", [above, x, e.scalar(0.0, x)])
            case "Shrink":
                limit, bias = real(node, "lambd", 0.5), real(node, "bias", 0.0)
                below = e.binary("LESS", x, e.scalar(-limit, x), dtype="bool")
                above = e.binary("GREATER", x, e.scalar(limit, x), dtype="bool")
                high = e.elementwise("SELECT_V2", [above, e.binary("SUB", x, e.scalar(bias, x)), e.scalar(0.0, x)])
                return e.elementwise("SELECT_V2", [below, e.binary("ADD", x, e.scalar(bias, x)), high])
            case _:
                return e.binary("DIV", e.scalar(1.0, x), x)

    elementwise(node, e, compute)


@lowering("Tan", "Atan", "Asin", "Acos", "Sinh", "Cosh")
def trigonometric(node: ir.Node, e: Emitter) -> None:
    """By SIN, COS, EXP and ATAN2; asin x = atan2(x, √((1-x)·(1+x))), which keeps its precision near ±1."""
    require_float(node, e)

    def leg(x: int) -> int:
        one = e.scalar(1.0, x)
        return e.unary("SQRT", e.binary("MUL", e.binary("SUB", one, x), e.binary("ADD", x, one)))

    def hyperbolic(x: int, builtin: str) -> int:
        both = e.binary(builtin, e.unary("EXP", x), e.unary("EXP", e.unary("NEG", x)))
        return e.binary("MUL", both, e.scalar(0.5, x))

    def compute(x: int) -> int:
        match node.op_type:
            case "Tan":
                return e.binary("DIV", e.unary("SIN", x), e.unary("COS", x))
            case "Atan":
                one = e.array(np.ones(e.shape_of(x), np.float32))
                return e.binary("ATAN2", x, one)
            case "Asin":
                return e.binary("ATAN2", x, leg(x))
            case "Acos":
                return e.binary("ATAN2", leg(x), x)
            case "Sinh":
                return hyperbolic(x, "SUB")
            case _:
                return hyperbolic(x, "ADD")

    elementwise(node, e, compute)


@lowering("IsNaN", "IsInf")
def special(node: ir.Node, e: Emitter) -> None:
    """NaN is what differs from itself; infinity is what its absolute value equals."""
    require_float(node, e)
    negative, positive = integer(node, "detect_negative", 1), integer(node, "detect_positive", 1)

    def compute(x: int) -> int:
        if node.op_type == "IsNaN":
            return e.binary("NOT_EQUAL", x, x, dtype="bool")
        if not negative and not positive:
            raise Decline("neither infinity is asked for")
        tested = e.unary("ABS", x) if negative and positive else x
        return e.binary("EQUAL", tested, e.scalar(np.inf if positive else -np.inf, x), dtype="bool")

    elementwise(node, e, compute)
