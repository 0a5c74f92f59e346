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
