"""Samples in a file that cannot hold code: what graphopt's processes hand each other.

The length of a header, the header (JSON: name, type and shape of every array), then the arrays' bytes one after the
other; an array of texts is JSON as well.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_LENGTH = 8
"""Bytes that say how long the header is."""


def pack(samples: Sequence[Mapping[str, np.ndarray]]) -> bytes:
    """The samples as bytes, of any shape and of every element type that onnxruntime or ml_dtypes has."""
    header, parts = [], []
    for sample in samples:
        told = []
        for name, given in sample.items():
            array = np.asarray(given)
            texts = array.dtype.kind == "O"
            data = json.dumps(array.reshape(-1).tolist()).encode() if texts else array.tobytes()
            kind = array.dtype.str if array.dtype.kind in "US" else array.dtype.name
            told.append({"name": name, "type": kind, "shape": array.shape, "bytes": len(data)})
            parts.append(data)
        header.append(told)
    head = json.dumps(header).encode()
    return b"".join((len(head).to_bytes(_LENGTH, "little"), head, *parts))


def unpack(data: bytes) -> list[dict[str, np.ndarray]]:
    """The samples that `pack` was given; the arrays may be written into."""
    at = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    samples = []
    for told in json.loads(data[_LENGTH:at]):
        sample = {}
        for one in told:
            sample[one["name"]] = _array(data[at : at + one["bytes"]], one["type"], one["shape"])
            at += one["bytes"]
        samples.append(sample)
    return samples


def _array(data: bytes, kind: str, shape: Sequence[int]) -> np.ndarray:
    if kind == "object":
        texts = np.empty(math.prod(shape), dtype=object)
        texts[:] = json.loads(data)
        return texts.reshape(shape)
    return np.frombuffer(data, _dtype(kind)).reshape(shape).copy()


def _dtype(kind: str) -> np.dtype[Any]:
    try:
        return np.dtype(kind)
    except TypeError:
        import ml_dtypes  # what numpy lacks: bfloat16, float8, int4

        found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, kind))
        return found
