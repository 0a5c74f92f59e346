"""Dimensions as polynomials over symbols, and integer tensors whose elements are such dimensions.

Shape → Gather → Mul → Concat chains compute with these; two dimensions are equal when their polynomials are. A symbol
is the name of a dimension of the user's model, a quotient that does not come out even, or a maximum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

MADE_UP = "_d"
"""Prefix of dimension names that inference makes up for sizes that it cannot tell but knows to be equal."""
Monomial = tuple[str, ...]
"""Symbols of a product, sorted, with repetition."""


@dataclass(frozen=True)
class Dim:
    """A polynomial with integer coefficients, as sorted (monomial, coefficient) pairs; () is zero."""

    terms: tuple[tuple[Monomial, int], ...]

    @staticmethod
    def of(value: int | str) -> Dim:
        """A number, or a symbol by name."""
        if isinstance(value, str):
            return Dim((((value,), 1),))
        return Dim((((), value),) if value else ())

    @staticmethod
    def _make(terms: Mapping[Monomial, int]) -> Dim:
        return Dim(tuple(sorted((m, c) for m, c in terms.items() if c)))

    @property
    def number(self) -> int | None:
        """The integer that this is, None where it depends on a symbol."""
        if not self.terms:
            return 0
        if len(self.terms) == 1 and not self.terms[0][0]:
            return self.terms[0][1]
        return None

    def __add__(self, other: Dim) -> Dim:
        terms = dict(self.terms)
        for monomial, factor in other.terms:
            terms[monomial] = terms.get(monomial, 0) + factor
        return self._make(terms)

    def __neg__(self) -> Dim:
        return Dim(tuple((m, -c) for m, c in self.terms))

    def __sub__(self, other: Dim) -> Dim:
        return self + -other

    def __mul__(self, other: Dim) -> Dim:
        terms: dict[Monomial, int] = {}
        for m, c in self.terms:
            for n, d in other.terms:
                product = tuple(sorted(m + n))
                terms[product] = terms.get(product, 0) + c * d
        return self._make(terms)

    def divide(self, other: Dim) -> Dim | None:
        """The quotient where it is exact, term by term; None where it is not."""
        if len(other.terms) != 1:
            return Dim.of(1) if self == other and self.terms else None
        (divisor, factor), quotient = other.terms[0], {}
        for monomial, coefficient in self.terms:
            rest = list(monomial)
            for symbol in divisor:
                if symbol not in rest:
                    return None
                rest.remove(symbol)
            if coefficient % factor:
                return None
            quotient[tuple(rest)] = coefficient // factor
        return self._make(quotient)

    def floor_divide(self, other: Dim) -> Dim:
        """⌊self / other⌋; a new symbol stands for it where it does not come out even."""
        exact = self.divide(other)
        if exact is not None:
            return exact
        a, b = self.number, other.number
        if a is not None and b:
            return Dim.of(a // b)
        return Dim.of(f"floor(({self})/({other}))")

    def __str__(self) -> str:
        parts = []
        for monomial, factor in sorted(self.terms, key=lambda t: (not t[0], t[0])):
            product = "*".join(monomial)
            parts.append(f"{factor}*{product}" if product and factor != 1 else product or str(factor))
        return " + ".join(parts) or "0"


Partial = Dim | tuple[Dim, ...]
"""An integer tensor of rank 0 or 1 whose elements are dimensions."""

_MOST_TERMS = 64


def from_shape(shape: ir.Shape) -> tuple[Dim, ...] | None:
    """The dimensions of a shape, None where one has no name."""
    dims = []
    for dim in shape:
        if isinstance(dim, int):
            dims.append(Dim.of(dim))
        elif dim.value is None:
            return None
        else:
            dims.append(Dim.of(dim.value))
    return tuple(dims)


def to_shape(dims: tuple[Dim, ...]) -> ir.Shape:
    """A shape of integers and named dimensions."""
    return ir.Shape([d.number if d.number is not None else str(d) for d in dims])


def partial_of(value: ir.Value | None) -> Partial | None:
    """What shape inference found out about the content of an integer tensor; None where it knows nothing."""
    if value is None:
        return None
    held = value.meta.get("graphopt.partial")
    return held if isinstance(held, Dim | tuple) else None


def numbers(partial: Partial | None) -> list[int] | None:
    """The content as integers, None unless every element is a number."""
    if partial is None:
        return None
    items = [d.number for d in (partial if isinstance(partial, tuple) else (partial,))]
    return None if any(n is None for n in items) else [int(n) for n in items if n is not None]


def product(dims: tuple[Dim, ...]) -> Dim | None:
    """The product of dimensions, None where it grows beyond reason."""
    result = Dim.of(1)
    for dim in dims:
        if len(result.terms) * len(dim.terms) > _MOST_TERMS:
            return None
        result = result * dim
    return result


def elementwise(op_type: str, a: Dim, b: Dim) -> Dim | None:
    """One element of an integer operator with two inputs, None where it cannot be told."""
    x, y = a.number, b.number
    if op_type == "Add":
        return a + b
    if op_type == "Sub":
        return a - b
    if op_type == "Mul":
        return a * b if len(a.terms) * len(b.terms) <= _MOST_TERMS else None
    if op_type == "Div":
        exact = a.divide(b) if b.terms else None
        if exact is not None:
            return exact
        if x is not None and y:
            return Dim.of((abs(x) // abs(y)) * (1 if x * y > 0 else -1))
        # ONNX truncates; a dimension and a positive number are not negative, so it is a floor.
        return a.floor_divide(b) if y is not None and y > 0 and _not_negative(a) else None
    if op_type == "Mod" and x is not None and y:
        return Dim.of(x % y)
    if op_type in ("Max", "Min"):
        if a == b:
            return a
        if x is not None and y is not None:
            return Dim.of(max(x, y) if op_type == "Max" else min(x, y))
    if op_type == "Equal":
        if a == b:
            return Dim.of(1)
        if x is not None and y is not None:
            return Dim.of(0)
        # A dimension is never negative, so it differs from -1, which is what exporters compare with.
        if (y is not None and y < 0 and _not_negative(a)) or (x is not None and x < 0 and _not_negative(b)):
            return Dim.of(0)
    return None


def _not_negative(dim: Dim) -> bool:
    # Symbols are dimensions, so a polynomial without negative coefficients is not negative.
    return all(c > 0 for _, c in dim.terms)
