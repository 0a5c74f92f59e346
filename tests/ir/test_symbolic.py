"""Arithmetic on dimensions says what arithmetic on the numbers says, whatever numbers stand for the symbols."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.ir.symbolic import Dim, elementwise, numbers, parse, product

SYMBOLS = ("N", "H", "W")
sizes = st.fixed_dictionaries({name: st.integers(1, 12) for name in SYMBOLS})
factors = st.integers(-6, 6)
dims = st.recursive(
    st.one_of(factors.map(Dim.of), st.sampled_from(SYMBOLS).map(Dim.of)),
    lambda inner: st.builds(lambda a, b, op: a + b if op else a * b, inner, inner, st.booleans()),
    max_leaves=5,
)


def value(dim: Dim, names: Mapping[str, int]) -> int:
    """The number that a polynomial is, where symbols are dimensions or floors of them."""
    total = 0
    for monomial, factor in dim.terms:
        for symbol in monomial:
            factor *= (
                names[symbol]
                if symbol in names
                else eval(re.sub(r"\)/\(", ")//(", symbol), {"floor": int}, dict(names))
            )
        total += factor
    return total


@given(dims, dims, sizes)
def test_sums_differences_and_products_are_those_of_the_numbers(a: Dim, b: Dim, names: dict[str, int]) -> None:
    x, y = value(a, names), value(b, names)
    assert value(a + b, names) == x + y
    assert value(a - b, names) == x - y
    assert value(a * b, names) == x * y
    assert value(-a, names) == -x


@given(dims, dims)
def test_equal_polynomials_are_equal_whatever_order_made_them(a: Dim, b: Dim) -> None:
    assert a + b == b + a
    assert a * b == b * a
    assert (a + b) * b == a * b + b * b
    assert (a - a).number == 0


@given(dims, dims, sizes)
def test_an_exact_quotient_times_the_divisor_is_the_dividend(a: Dim, b: Dim, names: dict[str, int]) -> None:
    quotient = a.divide(b)
    if quotient is not None and b.terms:
        assert value(quotient, names) * value(b, names) == value(a, names)
    whole = (a * b).divide(b) if len(b.terms) == 1 else None
    assert whole is None or whole == a


@given(dims, st.integers(1, 8), sizes)
def test_a_floor_is_that_of_the_numbers(a: Dim, b: int, names: dict[str, int]) -> None:
    assert value(a.floor_divide(Dim.of(b)), names) == value(a, names) // b


@given(dims, st.integers(1, 8), factors, st.integers(1, 8), sizes)
def test_a_floor_of_a_floor_is_that_of_the_numbers(a: Dim, b: int, shift: int, c: int, names: dict[str, int]) -> None:
    inner = a.floor_divide(Dim.of(b)) + Dim.of(shift)
    assert value(inner.floor_divide(Dim.of(c)), names) == (value(a, names) // b + shift) // c


@given(dims)
def test_a_polynomial_is_what_its_name_spells(a: Dim) -> None:
    assert a.number is not None or parse(str(a)) == a


def test_other_names_are_symbols() -> None:
    for name in ("batch size", "5", "a*", "*", "(a", "a)", "1 + past", "a + a", "x*2", "-1", "2*3", "?"):
        assert parse(name) == Dim.of(name)


OPERATORS = {
    "Add": lambda x, y: x + y,
    "Sub": lambda x, y: x - y,
    "Mul": lambda x, y: x * y,
    "Div": lambda x, y: int(x / y) if y else None,
    "Mod": lambda x, y: x % y if y else None,
    "Max": max,
    "Min": min,
    "Equal": lambda x, y: int(x == y),
    "Less": lambda x, y: int(x < y),
    "LessOrEqual": lambda x, y: int(x <= y),
    "Greater": lambda x, y: int(x > y),
    "GreaterOrEqual": lambda x, y: int(x >= y),
}


@given(st.sampled_from(sorted(OPERATORS)), dims, dims, sizes)
@settings(max_examples=500)
def test_an_operator_that_can_be_told_says_what_the_numbers_say(op: str, a: Dim, b: Dim, names: dict[str, int]) -> None:
    found = elementwise(op, a, b)
    expected = OPERATORS[op](value(a, names), value(b, names))
    if found is not None and expected is not None:
        assert value(found, names) == expected


@given(st.lists(dims, max_size=4), sizes)
def test_a_product_is_that_of_the_numbers(parts: list[Dim], names: dict[str, int]) -> None:
    found = product(tuple(parts))
    expected = 1
    for part in parts:
        expected *= value(part, names)
    assert found is None or value(found, names) == expected


@given(st.lists(factors, min_size=1, max_size=4))
def test_numbers_come_back(parts: list[int]) -> None:
    assert numbers(tuple(Dim.of(n) for n in parts)) == parts
    assert numbers((*(Dim.of(n) for n in parts), Dim.of("N"))) is None


def test_a_product_too_long_is_given_up() -> None:
    long = Dim.of("N") + Dim.of("H") + Dim.of("W") + Dim.of(1)
    assert product((long,) * 8) is None
