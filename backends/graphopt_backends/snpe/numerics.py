"""Whether an output of the HTP is right, given the precision that the HTP has."""

from __future__ import annotations

import numpy as np

# The HTP computes floats in fp16: 11 bits, so one rounding costs up to 4.9e-4 of a value, and of a sum with inputs
# around 1 up to 9.8e-4 whatever is left of it. Softplus and Mish are tables that are off by 0.0125, below 2e-2 of the
# output's largest magnitude. Of 126 other failing probes 122 are off by more than 3e-2: the line lies in the gap, so
# that a verdict does not hang on the values drawn.
_RELATIVE, _OF_SCALE, _ABSOLUTE = 1e-2, 2e-2, 2.0**-10
# A quantized operator may round to the neighboring step, which for 8 bits over the output's range is below 1 %; the
# sum of a few such steps through a Q/DQ pair stays within 3 %.
_QUANTIZED_OF_SCALE = 3e-2


def compare(got: np.ndarray, right: np.ndarray, *, quantized: bool) -> str:
    """Say how an output differs by more than the HTP's precision explains, "" where it does not.

    Floats agree within 1e-2 of each value plus 2e-2 of the largest magnitude (3e-2 of the largest for quantized
    models) plus 2⁻¹⁰, with NaN and infinities in the same places. Integers and booleans agree exactly; in a quantized
    model an 8-bit integer may be one step off.
    """
    if got.shape != right.shape:
        return f"shape {list(got.shape)} instead of {list(right.shape)}"
    if right.size == 0:
        return ""
    if right.dtype.kind not in "fV":
        step = 1 if quantized and right.dtype.kind in "iu" and right.dtype.itemsize == 1 else 0
        if right.dtype.kind in "iu" and step:
            off = np.abs(got.astype(np.int64) - right.astype(np.int64)) > step
        else:
            off = np.asarray(got != right)
        return f"{float(off.mean()):.1%} of the values differ" if off.any() else ""
    a, b = got.astype(np.float64), right.astype(np.float64)
    finite = np.isfinite(b)
    if not (np.array_equal(np.isnan(a), np.isnan(b)) and np.array_equal(a[np.isinf(b)], b[np.isinf(b)])):
        return "NaN or infinity in other places"
    if not np.isfinite(a[finite]).all():
        return "infinity where a number belongs (fp16 ends at 65504)"
    scale = float(np.abs(b[finite]).max(initial=0.0))
    allowed = _ABSOLUTE + (_QUANTIZED_OF_SCALE if quantized else _OF_SCALE) * scale + _RELATIVE * np.abs(b[finite])
    error = np.abs(a[finite] - b[finite])
    return f"error {float(error.max()):.3g} at a scale of {scale:.3g}" if (error > allowed).any() else ""
