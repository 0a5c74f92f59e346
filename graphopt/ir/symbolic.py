"""Dimensions as polynomials over symbols, and integer tensors whose elements are such dimensions.

Shape → Gather → Mul → Concat chains compute with these; two dimensions are equal when their polynomials are. A symbol
is the name of a dimension of the user's model, or of something that is no polynomial: a quotient that does not come out
even, a minimum, the size that two sizes broadcast to. No symbol is negative.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

MADE_UP = "_d"
"""Prefix of dimension names that inference makes up for sizes that it cannot tell but knows to be equal."""
_MADE_UP = re.compile(rf"(?<!\w){MADE_UP}\d+_\d+")
_NUMBER = re.compile(r"-?\d+")
_FLOOR = re.compile(r"floor\(\((.+)\)/\((\d+)\)\)")
_CAPPED = re.compile(r"min\((\d+), (.+)\)")
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

    @property
    def not_negative(self) -> bool:
        """Whether it is sure not to be negative: symbols are dimensions, so no negative coefficient will do."""
        return all(c >= 0 for _, c in self.terms)

    @property
    def is_large(self) -> bool:
        """Whether it is sure to be another number than one: a multiple of two or more."""
        return math.gcd(*(c for _, c in self.terms)) != 1

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
        inner = self._inner_floor() if b is not None and b > 0 else None
        if inner is not None:
            # ⌊(⌊p/q⌋ + c) / b⌋ = ⌊(p + c·q) / (q·b)⌋
            top, bottom, rest = inner
            return (top + rest * bottom).floor_divide(bottom * other)
        return Dim.of(f"floor(({self})/({other}))")

    def _inner_floor(self) -> tuple[Dim, Dim, Dim] | None:
        """p, q and c of a sum ⌊p/q⌋ + c where q and c are numbers and q is positive."""
        symbols = [(monomial, factor) for monomial, factor in self.terms if monomial]
        if len(symbols) != 1 or symbols[0][1] != 1 or len(symbols[0][0]) != 1:
            return None
        found = _FLOOR.fullmatch(symbols[0][0][0])
        return None if found is None else (parse(found[1]), Dim.of(int(found[2])), self - Dim((symbols[0],)))

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
            dims.append(parse(dim.value))
    return tuple(dims)


@functools.lru_cache(maxsize=4096)
def parse(name: str) -> Dim:
    """The polynomial that the name of a dimension spells, as `str` spells it; any other name is a symbol.

    Exporters write "past + 1" or "2*seq" and mean it, too.
    """
    if _NUMBER.fullmatch(name):
        return Dim.of(name)
    total = Dim.of(0)
    for term in _split(name, " + "):
        whole, factors = Dim.of(1), _split(term, "*")
        if not all(factors):
            return Dim.of(name)
        for factor in factors:
            whole = whole * Dim.of(int(factor) if _NUMBER.fullmatch(factor) else factor)
        total = total + whole
    return total if str(total) == name else Dim.of(name)


def _split(text: str, separator: str) -> list[str]:
    """Split where no parenthesis is open; in one piece where they do not match."""
    parts, depth, start, at = [], 0, 0, 0
    while at < len(text):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth < 0:
            return [text]
        if depth == 0 and text.startswith(separator, at):
            parts.append(text[start:at])
            at = start = at + len(separator)
        else:
            at += 1
    return [text] if depth else [*parts, text[start:]]


def to_shape(dims: tuple[Dim, ...]) -> ir.Shape:
    """A shape of integers and named dimensions."""
    return ir.Shape([d.number if d.number is not None else str(d) for d in dims])


def partial_of(value: ir.Value | None) -> Partial | None:
    """What shape inference found out about the content of an integer tensor; None where it knows nothing."""
    if value is None:
        return None
    held = value.meta.data.get("graphopt.partial")
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


def is_made_up(name: str) -> bool:
    """Whether the name of a dimension is, or has in it, one that inference made up."""
    return _MADE_UP.search(name) is not None


def minimum(a: Dim, b: Dim) -> Dim:
    """The smaller of two numbers that are not negative."""
    for smaller, larger in ((a, b), (b, a)):
        if (larger - smaller).not_negative:
            return smaller
    first, second = (str(d) for d in sorted((a, b), key=lambda d: (d.number is None, str(d))))
    return Dim.of(f"min({first}, {second})")


def maximum(a: Dim, b: Dim) -> Dim:
    """The larger of two numbers of which one is not negative."""
    for larger, smaller in ((a, b), (b, a)):
        if (larger - smaller).not_negative:
            return larger
    first, second = sorted((str(a), str(b)))
    return Dim.of(f"max({first}, {second})")


def broadcast(a: Dim, b: Dim) -> Dim:
    """The size of an axis on which sizes a and b meet, in every run in which they may meet.

    They are equal or one of them is 1. So a number other than 1 is the answer, and so is b where a is min(c, b).
    """
    if a == b or b.number == 1:
        return a
    if a.number == 1:
        return b
    for sure, other in ((a, b), (b, a)):
        if sure.number is not None:
            return sure
        capped = _CAPPED.fullmatch(str(other))
        if capped is not None and capped[2] == str(sure) and int(capped[1]) > 0:
            return sure
    large = sorted((d for d in (a, b) if d.is_large), key=str)
    if large:
        return large[0]
    first, second = sorted((str(a), str(b)))
    return Dim.of(f"broadcast({first}, {second})")


def elementwise(op_type: str, a: Dim, b: Dim) -> Dim | None:
    """One element of an integer operator with two inputs, None where it cannot be told; truth is 1 and 0."""
    if op_type == "Add":
        return a + b
    if op_type == "Sub":
        return a - b
    if op_type == "Mul":
        return a * b if len(a.terms) * len(b.terms) <= _MOST_TERMS else None
    if op_type in ("Div", "Mod"):
        return _quotient(op_type, a, b)
    if op_type in ("Max", "Min"):
        return _extreme(op_type, a, b)
    if op_type in _LESS:
        return _less(*(_LESS[op_type](a, b)))
    if op_type == "Equal":
        difference = a - b
        if difference.number is not None:
            return Dim.of(int(difference.number == 0))
        # What is always on one side of zero differs from it: a dimension from -1, which exporters compare with.
        sides = (_less(difference, Dim.of(0)), _less(Dim.of(0), difference))
        return Dim.of(0) if Dim.of(1) in sides else None
    if op_type in ("And", "Or"):
        decides = 0 if op_type == "And" else 1
        if decides in (a.number, b.number):
            return Dim.of(decides)
        return b if a.number is not None else a if b.number is not None else None
    return None


_LESS = {
    "Less": lambda a, b: (a, b), "Greater": lambda a, b: (b, a),
    "LessOrEqual": lambda a, b: (a, b + Dim.of(1)), "GreaterOrEqual": lambda a, b: (b, a + Dim.of(1)),
}  # fmt: skip
"""Comparisons of integers as a < b."""


def _less(a: Dim, b: Dim) -> Dim | None:
    """Whether a < b: 1 if always, 0 if never, None where it depends."""
    if (b - a - Dim.of(1)).not_negative:
        return Dim.of(1)
    return Dim.of(0) if (a - b).not_negative else None


def _quotient(op_type: str, a: Dim, b: Dim) -> Dim | None:
    x, y = a.number, b.number
    if op_type == "Mod":
        if x is not None and y:
            return Dim.of(x % y)
        return Dim.of(0) if b.terms and a.divide(b) is not None else None
    exact = a.divide(b) if b.terms else None
    if exact is not None:
        return exact
    if x is not None and y:
        return Dim.of((abs(x) // abs(y)) * (1 if x * y > 0 else -1))
    # ONNX truncates; a dimension and a positive number are not negative, so it is a floor.
    return a.floor_divide(b) if y is not None and y > 0 and a.not_negative else None


def _extreme(op_type: str, a: Dim, b: Dim) -> Dim | None:
    comparable = (a - b).not_negative or (b - a).not_negative
    if comparable or (a.not_negative and b.not_negative):
        return maximum(a, b) if op_type == "Max" else minimum(a, b)
    return None
