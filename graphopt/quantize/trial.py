"""Try quantizations on the model as a whole: how near are its results on samples that nothing was fitted to?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from graphopt.calibrate import BUDGET
from graphopt.verify import Runner
from graphopt.verify.metrics import is_float

Sample = Mapping[str, np.ndarray]
_MOST_DB = 300.0


class Judge:
    """Holds what a float model makes of a few samples, and measures others against it.

    Args:
        model: the float model.
        samples: few, as their results are held; no more of them are taken than fit `BUDGET` bytes of results.

    Raises:
        ExecutionFailed: the model does not run.
    """

    def __init__(self, model: ir.Model, samples: Sequence[Sample]) -> None:
        runner, room = Runner(model), BUDGET
        self._pairs: list[tuple[Sample, np.ndarray]] = []
        for sample in samples:
            wanted = _floats(runner.run(sample))
            room -= wanted.nbytes
            if self._pairs and room < 0:
                break
            self._pairs.append((sample, wanted))

    def sqnr_db(self, other: ir.Model) -> np.ndarray:
        """10·log10(Σy² / Σ(y - ŷ)²) over all floating-point outputs, sample by sample, within ±300 dB.

        Args:
            other: a model of the same outputs. Where it makes others of their sizes, as of boxes that were found, it
                has 0 dB.

        Raises:
            ExecutionFailed: it does not run.
        """
        runner = Runner(other)
        found = [_decibels(wanted, _floats(runner.run(sample))) for sample, wanted in self._pairs]
        decibels: np.ndarray = np.clip(np.array(found), -_MOST_DB, _MOST_DB)
        return decibels


def _decibels(wanted: np.ndarray, got: np.ndarray) -> float:
    if wanted.shape != got.shape:
        return 0.0
    noise, signal = (float(np.square(one, dtype=np.float64).sum()) for one in (got - wanted, wanted))
    return 10 * math.log10(max(signal, 1e-300) / max(noise, 1e-300)) if math.isfinite(noise) else -_MOST_DB


def _floats(outputs: Sample) -> np.ndarray:
    """All floating-point outputs in one row."""
    arrays = [array.astype(np.float32).ravel() for array in outputs.values() if is_float(array.dtype)]
    return np.nan_to_num(np.concatenate(arrays)) if arrays else np.zeros(0, np.float32)
