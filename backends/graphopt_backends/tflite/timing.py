"""What `graphopt bench` times of a .tflite file, also of one that graphopt did not write: LiteRT on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np

from graphopt.errors import ModelError


class Model:
    """An interpreter with its inputs set; see `graphopt.bench.worker.Running`."""

    def __init__(self, file: str, sample: Mapping[str, np.ndarray], threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.runtime = f"LiteRT {metadata.version('ai-edge-litert')}, CPU"
        try:
            self._interpreter = Interpreter(model_path=file, num_threads=threads)
        except ValueError as error:
            raise ModelError(f"is not a .tflite file: {str(error).splitlines()[0]}", file=file) from None
        inputs = self._inputs()
        self.signature = {name: [None if n < 0 else n for n in _open_shape(one)] for name, one in inputs.items()}
        given = {name: _fitting(sample[name], one) for name, one in inputs.items() if name in sample}
        for name, one in inputs.items():
            array = given.get(name)
            if array is not None and array.shape != tuple(one["shape"]):
                self._interpreter.resize_tensor_input(one["index"], array.shape)
        self._interpreter.allocate_tensors()
        rng = np.random.default_rng(0)
        for name, one in inputs.items():
            array = given.get(name)
            self._interpreter.set_tensor(one["index"], array if array is not None else _made(one, rng))
        missing = [name for name in inputs if given.get(name) is None]
        self.note = f"its {', '.join(missing)} got values of its own" if missing and sample else ""

    def run(self) -> None:
        """Run once."""
        self._interpreter.invoke()

    def profile(self, runs: int) -> str:
        """Why there is none."""
        return "LiteRT's Python package does not time single operators"

    def _inputs(self) -> dict[str, dict[str, Any]]:
        """The inputs by their names in the signature; by those of the tensors, where a file has none."""
        signatures = self._interpreter.get_signature_list()
        if signatures:
            runner = self._interpreter.get_signature_runner(next(iter(signatures)))
            inputs: dict[str, dict[str, Any]] = runner.get_input_details()
            return inputs
        return {one["name"]: one for one in self._interpreter.get_input_details()}


def open_model(file: str, sample: Mapping[str, np.ndarray], *, threads: int, optimization: str) -> Model:
    """Open a .tflite file for timing; there is no choice of optimization."""
    return Model(file, sample, threads)


def _open_shape(one: Mapping[str, Any]) -> list[int]:
    return [int(size) for size in one["shape_signature"]]


def _fitting(array: np.ndarray, one: Mapping[str, Any]) -> np.ndarray | None:
    """The array as the file takes it, channels moved to the end where it wants that; None where it takes another."""
    if array.dtype != one["dtype"]:
        return None
    wanted = _open_shape(one)
    orders = [array, np.moveaxis(array, 1, -1)] if array.ndim > 2 else [array]
    for order in orders:
        if order.ndim == len(wanted) and all(b < 0 or a == b for a, b in zip(order.shape, wanted, strict=True)):
            return np.ascontiguousarray(order)
    return None


def _made(one: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Values for an input of which nothing is known but type and shape."""
    shape, dtype = tuple(one["shape"]), np.dtype(one["dtype"])
    if dtype.kind == "f":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, 2, shape).astype(dtype)
