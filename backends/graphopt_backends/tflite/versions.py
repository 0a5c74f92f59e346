"""Which version of a builtin operator promises what a use of it needs: the rules of TensorFlow Lite's `op_version.cc`.

A runtime refuses a version that it does not know, so a file should ask for the lowest that will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


def _words(text: str) -> list[str]:
    return text.split()


_INT8: Final = {
    **dict.fromkeys(
        _words(
            "ABS ADD ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND CONCATENATION DEPTH_TO_SPACE "
            "DEQUANTIZE EQUAL EXP GATHER GELU GREATER GREATER_EQUAL L2_NORMALIZATION LESS LESS_EQUAL LOG LOGISTIC "
            "LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NOT_EQUAL PACK PAD PADV2 REDUCE_MAX "
            "REDUCE_MIN REDUCE_PROD RELU RELU6 RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SLICE SOFTMAX "
            "SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH TOPK_V2 "
            "TRANSPOSE TRANSPOSE_CONV UNPACK"
        ),
        2,
    ),
    **dict.fromkeys(_words("BROADCAST_TO CAST CONV_2D DEPTHWISE_CONV_2D FILL FLOOR_DIV REVERSE_V2 TILE"), 3),
    "FULLY_CONNECTED": 4,
}
_INT16: Final = {
    **dict.fromkeys(_words("EXP FLOOR_MOD LEAKY_RELU LOG QUANTIZE REDUCE_PROD"), 2),
    **dict.fromkeys(
        _words(
            "AVERAGE_POOL_2D BATCH_MATMUL BROADCAST_TO CONCATENATION DEQUANTIZE FILL FLOOR_DIV GATHER_ND "
            "GREATER_EQUAL LESS LOGISTIC MAX_POOL_2D MEAN MIRROR_PAD PACK PAD PADV2 REDUCE_MAX REDUCE_MIN RELU "
            "RELU6 RSQRT SOFTMAX TANH TOPK_V2"
        ),
        3,
    ),
    **dict.fromkeys(
        _words(
            "BATCH_TO_SPACE_ND CONV_2D EQUAL GATHER MAXIMUM MINIMUM RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SLICE "
            "SPACE_TO_BATCH_ND SPLIT UNPACK"
        ),
        4,
    ),
    **dict.fromkeys(["DEPTHWISE_CONV_2D", "SUB", "TRANSPOSE"], 5),
    "FULLY_CONNECTED": 7,
}
_BY_DTYPE: Final[Mapping[str, Mapping[str, int]]] = {
    "int8": _INT8,
    "int16": _INT16,
    "int32": {"ABS": 5, "SIGN": 2, "SPLIT": 3},
    "int64": {"ADD": 4, "MUL": 5, "SUB": 4, "RANGE": 2},
    "uint8": {"ABS": 2, "RELU": 2, "GELU": 2, "UNPACK": 2},
    "uint16": {"CAST": 4},
    "uint32": {"CAST": 2, "CONCATENATION": 4, "MUL": 7, "SELECT_V2": 2, "SLICE": 6, "STRIDED_SLICE": 7},
    "bool": {
        **dict.fromkeys(_words("ARG_MAX ARG_MIN GATHER STRIDED_SLICE TRANSPOSE"), 3),
        **dict.fromkeys(["FILL", "REVERSE_V2"], 2),
        **dict.fromkeys(["GATHER_ND", "PAD", "PADV2"], 5),
    },
    "float16": {"ADD": 6, "CAST": 5, "DEQUANTIZE": 3, "FILL": 4, "MUL": 8},
    "float32": {"FLOOR_DIV": 2},
    "float64": {"CAST": 5},
    "int4": {"DEQUANTIZE": 6, "GATHER": 7, "TRANSPOSE": 7},
}


@dataclass(frozen=True)
class Use:
    """One use of a builtin.

    Attributes:
        dtype: numpy name of the data operand's element type.
        rank: the highest rank of an operand.
        operands: how many there are.
        weights: element type of the second operand.
        made: element type of the result.
        quantized: whether the data operand carries scales.
        per_axis: whether an operand has a scale for each index of an axis.
        broadcast: whether the first two operands differ in shape.
        rescale: for MUL of codes, the product of the operands' scales by that of the result.
        options: fields of the operator's options table; "groups" stands for the groups of a CONV_2D.
    """

    dtype: str
    rank: int = 0
    operands: int = 1
    weights: str = ""
    made: str = ""
    quantized: bool = False
    per_axis: bool = False
    broadcast: bool = False
    rescale: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hybrid(self) -> bool:
        """Whether the kernel quantizes its data to multiply it with codes."""
        return self.dtype == "float32" and self.weights == "int8"


def version(builtin: str, use: Use) -> int:
    """The lowest version of `builtin` that promises what this use of it needs."""
    return max(_BY_DTYPE.get(use.dtype, {}).get(builtin, 1), _by_form(builtin, use))


def _by_form(builtin: str, use: Use) -> int:
    fields, deep = use.options, use.rank > 4
    match builtin:
        case "CONV_2D" if use.hybrid:
            return 5 if use.per_axis else 2
        case "DEPTHWISE_CONV_2D" if use.hybrid:
            return 6 if use.per_axis else 4
        case "FULLY_CONNECTED" if use.hybrid:
            return 12 if use.per_axis else 9 if fields.get("asymmetricQuantizeInputs") else 3
        case "CONV_2D":
            return 7 if use.weights == "int4" else 6 if fields.get("groups", 1) > 1 else 1
        case "DEPTHWISE_CONV_2D":
            dilated = (fields.get("dilationHFactor", 1), fields.get("dilationWFactor", 1)) != (1, 1)
            return 7 if use.weights == "int4" else 2 if dilated else 1
        case "FULLY_CONNECTED":
            shape = 6 if use.operands == 2 else 5 if fields.get("keepNumDims") else 1
            narrow = {"int8": 10, "int16": 13}.get(use.dtype, 1) if use.weights == "int4" else 1
            return max(shape, narrow)
        case "TRANSPOSE_CONV":
            return 4 if fields.get("fusedActivationFunction") else 3 if use.operands == 4 else 1
        case "RESIZE_BILINEAR":
            return 3 if fields.get("halfPixelCenters") else 1
        case "RESIZE_NEAREST_NEIGHBOR":
            return 3 if fields.get("halfPixelCenters") or fields.get("alignCorners") else 1
        case "TRANSPOSE":
            return 6 if use.rank > 5 else 4 if deep else 1
        case "PAD" | "PADV2" | "STRIDED_SLICE":
            return 4 if deep else 1
        case "SLICE":
            return 5 if deep else 1
        case "MUL":
            plain = use.dtype == "int16" and not use.quantized
            return 7 if plain else 4 if use.dtype == "int16" else 3 if use.rescale >= 1 else 1
        case "ADD":
            return (3 if use.quantized else 5) if use.dtype == "int16" else 1
        case "ABS":
            return (3 if use.quantized else 4) if use.dtype == "int16" else 1
        case "SUB" | "MAXIMUM" | "MINIMUM":
            return 3 if use.broadcast and deep else 1
        case "DIV":
            return 2 if use.broadcast and deep else 1
        case "CAST":
            return _BY_DTYPE.get(use.made, {}).get("CAST", 1)
        case "DEQUANTIZE":
            return 5 if use.per_axis and use.dtype == "int8" else 1
        case "QUANTIZE":
            return 3 if use.per_axis else 2 if use.made == "int16" else 1
        case "BROADCAST_TO":
            return 2
        case _:
            return 1
