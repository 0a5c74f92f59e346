"""A piece of a random model: a sketch whose inputs may be values that other pieces have made."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from graphopt.testing import Sketch

T = TypeVar("T")

ORDINARY = 1e3
"""Magnitude up to which a number counts as ordinary: what a rule that holds for numbers only may be fed."""


@dataclass(frozen=True)
class Known:
    """A value of the model so far.

    Attributes:
        name: what it is called.
        arrays: its content in each sample.
    """

    name: str
    arrays: tuple[np.ndarray, ...]

    @property
    def dtype(self) -> int:
        """Its element type, as ONNX numbers it."""
        import onnx

        return int(onnx.helper.np_dtype_to_tensor_dtype(self.arrays[0].dtype))

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape in the first sample."""
        return self.arrays[0].shape

    @property
    def ordinary(self) -> bool:
        """Whether all its elements are numbers of ordinary size."""
        return all(
            array.dtype.kind in "biu" or (array.dtype.kind == "f" and bool((np.abs(array) < ORDINARY).all()))
            for array in self.arrays
        )

    def fits(self, shape: Sequence[int], dtype: int) -> bool:
        """Whether it has this shape in every sample, and this element type."""
        return self.dtype == dtype and all(array.shape == tuple(shape) for array in self.arrays)


class Piece(Sketch):
    """A sketch whose inputs are, now and then, values that exist already.

    Args:
        source: where choices come from.
        opset: of the default domain.
        pool: the values that exist.
        prefix: begins every name that the piece makes.
        chained: share of the inputs that are taken from the pool where one fits.
    """

    def __init__(
        self, source: random.Random, opset: int, pool: Sequence[Known], prefix: str, chained: float = 0.6
    ) -> None:
        super().__init__(source, opset)
        self._pool, self._prefix, self._chained = pool, prefix, chained
        self.taken: dict[str, Known] = {}
        """Inputs that are values of the pool."""
        self.given: dict[str, np.ndarray] = {}
        """Inputs whose content matters."""

    def _fresh(self, stem: str) -> str:
        return self._prefix + super()._fresh(stem)

    def take(self, value: Known) -> str:
        """Read a value of the pool."""
        import onnx

        if value.name not in self.taken:
            self.taken[value.name] = value
            info = onnx.helper.make_tensor_value_info(value.name, value.dtype, value.shape)
            self._inputs.append((info, list(value.shape)))
            self._ranks[value.name] = len(value.shape)
        return value.name

    def any(self, where: Callable[[Known], bool] = lambda value: True) -> Known | None:
        """Some value of the pool, None where none is such."""
        found = [value for value in self._pool if where(value)]
        return self.pick(found) if found else None

    def input(self, shape: Sequence[int | str], dtype: int = 1, *, static: bool = False, finite: bool = False) -> str:
        """An input of the graph, or a value of the pool in its place; see `Sketch.input`."""
        sizes = [self._size(size) if isinstance(size, str) else size for size in shape]
        if self._source.random() < self._chained:
            value = self.any(lambda known: known.fits(sizes, dtype) and (known.ordinary or not finite))
            if value is not None:
                return self.take(value)
            if dtype == self.FLOAT and self.flag():
                value = self.any(lambda known: known.dtype == dtype and known.ordinary and known.arrays[0].size > 0)
                if value is not None:
                    return self._adapted(self.take(value), value.arrays[0].size, sizes)
        return super().input(shape, dtype, static=static, finite=finite)

    def _adapted(self, name: str, have: int, shape: Sequence[int]) -> str:
        """Another shape of what a value holds: cut or repeated to as many elements, then put in that shape."""
        want = int(np.prod(shape))
        flat = self.Reshape(name, self.constant(np.array([-1])))
        if want > have:
            flat = self.Tile(flat, self.constant(np.array([-(-want // have)])))
        if want != have:
            flat = self.Slice(flat, self.constant(np.array([0])), self.constant(np.array([want])))
        made = str(self.Reshape(flat, self.constant(np.array(shape, np.int64))))
        self._ranks[made] = len(shape)
        return made

    def fed(self, array: np.ndarray) -> str:
        """An input with content of its own, the same in every sample."""
        name = self._fresh("x")
        self.feed(name, array)
        return name

    def feed(self, name: str, array: np.ndarray) -> None:
        """Make a name an input with content of its own."""
        import onnx

        dtype = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        self._inputs.append((onnx.helper.make_tensor_value_info(name, dtype, array.shape), list(array.shape)))
        self._ranks[name], self.given[name] = array.ndim, array

    def feeds(self, seed: int) -> dict[str, np.ndarray]:
        """Contents for the inputs that are its own; see `Sketch.feeds`."""
        drawn = {**super().feeds(seed), **self.given}
        return {name: array for name, array in drawn.items() if name not in self.taken}

    @property
    def domains(self) -> dict[str, int]:
        """Versions of the other operator sets that it needs."""
        return {domain: self._domains.get(domain, 1) for domain in sorted({n.domain for n in self._nodes} - {""})}

    @property
    def boundary(self) -> list[tuple[Any, list[int]]]:
        """Its inputs, each with its sizes in the samples."""
        return self._inputs

    @property
    def nodes(self) -> list[Any]:
        """The nodes that it made."""
        return self._nodes

    @property
    def constants(self) -> list[Any]:
        """The initializers that it made."""
        return self._constants

    @property
    def insists(self) -> bool:
        """Whether it asked for numbers only, on some input."""
        return bool(self._finite)
