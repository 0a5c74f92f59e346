"""How LiteRT's integer kernels treat scales, a builtin a row: what is allowed in, and what comes out.

Measured with ai-edge-litert 2.3.0 against onnxruntime's answer on the QDQ form; what is not listed stays in float32.
Source of the fixed ranges and of "moves": TensorFlow Lite 8-bit quantization specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from graphopt_backends.tflite.scheme import Quantization, one_scale

Kind = Literal["moves", "averages", "joins", "free", "fixed"]
"""
moves: codes come out as they go in, under the same scale;
averages: the same scale, but codes are rounded;
joins: codes of several operands meet, all under one scale;
free: the result has any scale;
fixed: the result's scale is prescribed.
"""


@dataclass(frozen=True)
class Rule:
    """What an integer kernel does with scales, and the types of codes that it takes."""

    kind: Kind
    dtypes: tuple[str, ...]


def _words(text: str) -> list[str]:
    return text.split()


_BOTH, _BYTES = ("int8", "int16"), ("int8",)

RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(
        _words(
            "BROADCAST_TO GATHER GATHER_ND MAX_POOL_2D MIRROR_PAD PAD PADV2 REDUCE_MAX REDUCE_MIN RESHAPE "
            "RESIZE_NEAREST_NEIGHBOR SLICE SPLIT SPLIT_V STRIDED_SLICE TILE TRANSPOSE"
        ),
        Rule("moves", _BOTH),
    ),
    **dict.fromkeys(["ARG_MAX", "ARG_MIN", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH"], Rule("moves", _BYTES)),
    **dict.fromkeys(["AVERAGE_POOL_2D", "RESIZE_BILINEAR"], Rule("averages", _BOTH)),
    **dict.fromkeys(_words("CONCATENATION MAXIMUM MINIMUM SELECT_V2"), Rule("joins", _BOTH)),
    **dict.fromkeys(
        _words(
            "ADD BATCH_MATMUL CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED LEAKY_RELU MEAN MUL RELU RELU6 SUB SUM "
            "TRANSPOSE_CONV"
        ),
        Rule("free", _BOTH),
    ),
    **dict.fromkeys(_words("ABS ELU EXP GELU HARD_SWISH LOG PRELU RELU_0_TO_1 RELU_N1_TO_1"), Rule("free", _BYTES)),
    **dict.fromkeys(["LOGISTIC", "SOFTMAX", "TANH"], Rule("fixed", _BOTH)),
    **dict.fromkeys(["L2_NORMALIZATION", "LOG_SOFTMAX"], Rule("fixed", _BYTES)),
}

FIXED: Final[Mapping[tuple[str, str], Quantization]] = {
    ("LOGISTIC", "int8"): one_scale("int8", 1 / 256, -128),
    ("SOFTMAX", "int8"): one_scale("int8", 1 / 256, -128),
    ("TANH", "int8"): one_scale("int8", 1 / 128),
    ("L2_NORMALIZATION", "int8"): one_scale("int8", 1 / 128),
    ("LOG_SOFTMAX", "int8"): one_scale("int8", 16 / 256, 127),
    ("LOGISTIC", "int16"): one_scale("int16", 1 / 32768),
    ("SOFTMAX", "int16"): one_scale("int16", 1 / 32768),
    ("TANH", "int16"): one_scale("int16", 1 / 32768),
}
"""What comes out of a kernel whose range is prescribed."""

WEIGHTED: Final = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"})
"""Builtins whose second operand is a kernel of weights, symmetric, with a scale for each output channel if wanted."""
