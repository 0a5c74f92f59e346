"""What pruning did to the answers, on samples that nothing was fitted to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from graphopt.verify import ExecutionFailed, run
from graphopt.verify.types import Array

Samples: TypeAlias = Sequence[Mapping[str, Array]]

_HELD = 4
"""One sample of so many is kept to judge by."""


@dataclass(frozen=True)
class Score:
    """How near a model is to another.

    Attributes:
        sqnr: over all floating-point outputs, in dB; NaN where there are none.
        agreement: share of the rows of all outputs whose largest element is at the same place, and of the whole
            numbers that are the same; NaN where there are no such rows.
    """

    sqnr: float
    agreement: float


def score(original: ir.Model, pruned: ir.Model, samples: Samples) -> Score | None:
    """Compare the outputs; None where a model does not run."""
    try:
        expected, actual = run(original, samples), run(pruned, samples)
    except ExecutionFailed:
        return None
    signal = noise = same = count = 0.0
    seen = False
    for left, right in zip(expected, actual, strict=True):
        for name, want in left.items():
            got = right[name]
            if want.shape != got.shape or not want.size or want.dtype.kind not in "fiub":
                continue
            if want.dtype.kind != "f":
                same, count = same + float((want == got).sum()), count + want.size
                continue
            a, b = want.astype(np.float64), got.astype(np.float64)
            finite = np.isfinite(a)
            seen = seen or bool(finite.any())
            signal += float(np.square(a[finite]).sum())
            noise += float(np.square(a[finite] - b[finite]).sum())
            if a.ndim and a.shape[-1] > 1:
                hits = a.argmax(axis=-1) == b.argmax(axis=-1)
                same, count = same + float(hits.sum()), count + hits.size
    agreement = same / count if count else np.nan
    if not np.isfinite(noise):
        return Score(-np.inf, agreement)
    sqnr = 10 * np.log10(max(signal, 1e-30) / max(noise, 1e-30)) if seen else np.nan
    return Score(float(sqnr), agreement)


def distinct(samples: Samples) -> Samples:
    """Samples that occur once: a repeated one must not be both fitted to and judged by."""
    found: dict[bytes, Mapping[str, Array]] = {}
    for sample in samples:
        digest = hashlib.sha256()
        for name in sorted(sample):
            digest.update(np.ascontiguousarray(sample[name]).tobytes())
        found.setdefault(digest.digest(), sample)
    return list(found.values())


def apart(samples: Samples) -> tuple[Samples, Samples]:
    """Samples to fit to, and samples to judge by: a quarter, where there are enough."""
    held = len(samples) // _HELD
    return (samples[:-held], samples[-held:]) if held else (samples, samples)
