"""What LiteRT's builtin operators take: element types (measured) and the runtime that first knew a version.

`builtins.json` has a row a builtin: `dtypes`, the unquantized element types that the reference kernels of
ai-edge-litert 2.3.0 ran (int8 and uint8 only where elements are moved or compared: arithmetic on them takes
quantization for granted), and `since`, the first TFLite release that knows each version of the operator.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

# The operand whose element type decides, where it is not the first one.
_DATA_OPERAND = {"SELECT_V2": 1, "TRANSPOSE_CONV": 2, "SPLIT": 1, "CONV_3D_TRANSPOSE": 2}


@functools.cache
def _rows() -> Mapping[str, Any]:
    rows: Mapping[str, Any] = json.loads(Path(__file__).with_name("builtins.json").read_text())
    return rows


def dtypes(builtin: str) -> Sequence[str]:
    """Element types, as numpy names, that LiteRT's kernel of `builtin` was measured to run without quantization."""
    found: Sequence[str] = _rows()[builtin]["dtypes"]
    return found


def data_operand(builtin: str) -> int:
    """Index of the operand whose element type decides whether the kernel runs."""
    return _DATA_OPERAND.get(builtin, 0)


def minimum_runtime(used: Iterable[tuple[str, int]]) -> str:
    """The oldest TFLite release that knows every (builtin, version) in `used`, as "2.5.0"."""
    releases = [_rows()[builtin]["since"].get(str(version), "1.5.0") for builtin, version in used]
    return max(releases, key=_release_key, default="1.5.0")


def _release_key(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


def version(
    builtin: str,
    dtype: str,
    ranks: Sequence[int],
    *,
    operands: int = 1,
    broadcast: bool = False,
    options: Mapping[str, Any] | None = None,
) -> int:
    """The lowest version of `builtin` that promises what this use of it needs.

    The rules are those of TensorFlow Lite's `op_version.cc`, for operands without quantization.

    Args:
        builtin: name in the schema, as CONV_2D.
        dtype: numpy name of the data operand's element type.
        ranks: ranks of the operands.
        operands: how many operands the operator has.
        broadcast: whether the first two operands differ in shape.
        options: fields of the operator's options table; "groups" stands for the groups of a CONV_2D.
    """
    rank, fields = max(ranks, default=0), options or {}
    match builtin:
        case "CONV_2D":
            return 6 if fields.get("groups", 1) > 1 else 1
        case "DEPTHWISE_CONV_2D":
            return 2 if (fields.get("dilationHFactor", 1), fields.get("dilationWFactor", 1)) != (1, 1) else 1
        case "FULLY_CONNECTED":
            return 6 if operands == 2 else 5 if fields.get("keepNumDims") else 1
        case "TRANSPOSE_CONV":
            return 4 if fields.get("fusedActivationFunction") else 3 if operands == 4 else 1
        case "RESIZE_BILINEAR":
            return 3 if fields.get("halfPixelCenters") else 1
        case "RESIZE_NEAREST_NEIGHBOR":
            return 3 if fields.get("halfPixelCenters") or fields.get("alignCorners") else 1
        case "TRANSPOSE":
            return 6 if rank > 5 else 4 if rank > 4 else 3 if dtype == "bool" else 2 if dtype == "int8" else 1
        case "PAD" | "PADV2":
            return 5 if dtype == "bool" else 4 if rank > 4 else 2 if dtype == "int8" else 1
        case "SLICE":
            return 6 if dtype == "uint32" else 5 if rank > 4 else 2 if dtype == "int8" else 1
        case "STRIDED_SLICE":
            return 7 if dtype == "uint32" else 4 if rank > 4 else {"bool": 3, "int8": 2}.get(dtype, 1)
        case "GATHER":
            return {"bool": 3, "int8": 2}.get(dtype, 1)
        case "GATHER_ND":
            return 5 if dtype == "bool" else 1
        case "SPLIT":
            return {"int32": 3, "int8": 2}.get(dtype, 1)
        case "REVERSE_V2":
            return {"bool": 2, "int8": 3}.get(dtype, 1)
        case "ADD":
            return {"float16": 6, "int64": 4}.get(dtype, 1)
        case "MUL":
            return {"float16": 8, "uint32": 7, "int64": 5}.get(dtype, 1)
        case "SUB":
            return 4 if dtype == "int64" else 3 if broadcast and rank > 4 else 1
        case "DIV":
            return 2 if broadcast and rank > 4 else 1
        case "MAXIMUM" | "MINIMUM":
            return 3 if broadcast and rank > 4 else 1
        case "SIGN":
            return 2 if dtype == "int32" else 1
        case "ABS":
            return 5 if dtype == "int32" else 1
        case "FLOOR_DIV":
            return 2 if dtype == "float32" else 1
        case "ARG_MAX" | "ARG_MIN":
            return 3 if dtype == "bool" else 1
        case "SELECT_V2":
            return 2 if dtype == "uint32" else 1
        case "CONCATENATION":
            return 4 if dtype == "uint32" else 1
        case "CAST":
            return 5 if dtype in ("float16", "float64") else 4 if dtype == "uint16" else 3 if dtype == "int8" else 1
        case "BROADCAST_TO":
            return 2
        case "FILL":
            return {"float16": 4, "bool": 2, "int8": 3}.get(dtype, 1)
        case _:
            return 1
