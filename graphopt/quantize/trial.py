"""Try quantizations on the model as a whole: how near are its results on samples that nothing was fitted to?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from graphopt.verify import Runner
from graphopt.verify.metrics import is_float

Sample = Mapping[str, np.ndarray]
_MOST_DB = 300.0


class Judge:
    """Holds what a float model makes of a few samples, and measures others against it.

    Args:
        model: the float model.
        samples: few, as their results are held.

    Raises:
        ExecutionFailed: the model does not run.
    """

    def __init__(self, model: ir.Model, samples: Sequence[Sample]) -> None:
        runner = Runner(model)
        self._samples = samples
        self._wanted = [_floats(runner.run(sample)) for sample in samples]

    def sqnr_db(self, other: ir.Model) -> np.ndarray:
        """10·log10(Σy² / Σ(y - ŷ)²) over all floating-point outputs, sample by sample, within ±300 dB.

        Args:
            other: a model of the same outputs.

        Raises:
            ExecutionFailed: it does not run.
        """
        runner = Runner(other)
        found = []
        for sample, wanted in zip(self._samples, self._wanted, strict=True):
            noise = np.square(_floats(runner.run(sample)) - wanted).sum()
            signal = np.square(wanted).sum()
            found.append(10 * np.log10(max(signal, 1e-300) / max(noise, 1e-300)) if np.isfinite(noise) else -_MOST_DB)
        decibels: np.ndarray = np.clip(np.array(found), -_MOST_DB, _MOST_DB)
        return decibels


def _floats(outputs: Sample) -> np.ndarray:
    """All floating-point outputs in one row."""
    arrays = [array.astype(np.float64).ravel() for array in outputs.values() if is_float(array.dtype)]
    return np.nan_to_num(np.concatenate(arrays)) if arrays else np.zeros(0)
