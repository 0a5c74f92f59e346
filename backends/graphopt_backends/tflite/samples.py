"""Samples in a .npz file: arrays by position, their names in an array of their own, as a name may be any text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def save(path: Path, samples: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Write samples that all have the same names."""
    names = list(samples[0]) if samples else []
    arrays = {
        f"{row}.{column}": np.asarray(sample[name])
        for row, sample in enumerate(samples)
        for column, name in enumerate(names)
    }
    np.savez(path, allow_pickle=False, names=np.asarray(names, dtype=np.str_), count=np.asarray(len(samples)), **arrays)


def load(path: Path) -> list[dict[str, np.ndarray]]:
    """Read what `save` wrote."""
    with np.load(path, allow_pickle=False) as file:
        names = [str(name) for name in file["names"]]
        return [
            {name: file[f"{row}.{column}"] for column, name in enumerate(names)} for row in range(int(file["count"]))
        ]
