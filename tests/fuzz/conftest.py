"""Models that the fuzzer found, with the inputs that they failed on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from graphopt.fuzz.draw import Drawn
from graphopt.fuzz.run import execute
from graphopt.fuzz.work import quiet


@pytest.fixture(autouse=True, scope="session")
def silence() -> None:
    quiet()


def found(file: Path) -> tuple[Drawn, dict[str, str]]:
    """A saved model as it was drawn, and what it showed: kind, blamed, words, backend, passes, seed."""
    proto = onnx.load(file)
    told = {one.key.removeprefix("fuzz."): one.value for one in proto.metadata_props}
    samples: dict[int, dict[str, np.ndarray]] = {}
    with np.load(file.with_suffix(".npz")) as held:
        for key in held.files:
            place, _, name = key.partition("/")
            samples.setdefault(int(place), {})[name] = held[key]
    inputs = tuple(samples[place] for place in sorted(samples)) or ({},)
    expected = tuple(execute(proto, inputs))
    return Drawn(int(told["seed"]), proto, inputs, expected, False, ()), told
