"""The pattern language: a pattern is built from calls that read like the graph it matches.

    def pattern(p):
        conv = p.Conv(p.x, p.constant("w"), p.optional(p.constant("b")), as_="conv")
        return p.BatchNormalization(conv, p.constant("scale"), p.constant("shift"), p.mean, p.var, epsilon=1e-5)

`p.Name(…)` with a capital is an operator, `p.name` without is any value. The same name twice is the same value twice.
Inner values must have no other reader, since the rewrite takes them away, unless `shared=True` says that they may stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

COMMUTATIVE = frozenset({
    "Add", "Mul", "And", "Or", "Xor", "Equal", "BitwiseAnd", "BitwiseOr", "BitwiseXor",
})  # fmt: skip
"""Operators of the default domain whose two inputs may be swapped (Max, Min, Sum and Mean with two inputs as well)."""
_COMMUTATIVE_PAIRS = frozenset({"Max", "Min", "Sum", "Mean"})


class Pattern:
    """Something that a value can match."""


@dataclass(eq=False, frozen=True)
class Var(Pattern):
    """Any value, under a name; `where(value)` may refuse it."""

    name: str | None
    where: Callable[[ir.Value], bool] | None = None


@dataclass(eq=False, frozen=True)
class Const(Pattern):
    """A constant; `equals` compares every element, `where(array)` may refuse it. Its content is read only then."""

    name: str | None
    equals: float | int | None = None
    where: Callable[[np.ndarray], bool] | None = None
    largest: int = 1 << 16
    """Elements beyond which `equals` and `where` do not look and refuse."""


@dataclass(eq=False, frozen=True)
class Optional(Pattern):
    """An input that may be missing."""

    inner: Pattern


@dataclass(eq=False, frozen=True)
class Either(Pattern):
    """The first of several patterns that matches."""

    options: tuple[Pattern, ...]


@dataclass(eq=False, frozen=True)
class Rest:
    """All further inputs of a variadic operator, as a list of values under a name."""

    name: str


@dataclass(eq=False, frozen=True)
class Attribute:
    """An attribute under a name, with the standard's default where the node has none; `where(value)` may refuse it."""

    name: str | None
    where: Callable[[Any], bool] | None = None


@dataclass(eq=False, frozen=True)
class Output(Pattern):
    """Output number `index` of an operator; `op[1]`."""

    op: Op
    index: int


@dataclass(eq=False, frozen=True)
class Op(Pattern):
    """A node of one of several operator types."""

    types: tuple[str, ...]
    domain: str
    inputs: tuple[Pattern, ...]
    rest: Rest | None = None
    attributes: dict[str, Attribute] = field(default_factory=dict)
    name: str | None = None
    shared: bool = False
    commutative: bool = False
    where: Callable[[ir.Node], bool] | None = None

    def __getitem__(self, index: int) -> Output:
        return Output(self, index)


def _equal_attribute(expected: Any) -> Callable[[Any], bool]:
    wanted = list(expected) if isinstance(expected, Sequence) and not isinstance(expected, str) else expected

    def check(found: Any) -> bool:
        if isinstance(found, Sequence) and not isinstance(found, str):
            return list(found) == wanted
        return bool(found == wanted)

    return check


class PatternBuilder:
    """The `p` of a pattern function."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name[0].isupper():
            return lambda *inputs, **options: self.op(name, *inputs, **options)
        return Var(name)

    def value(self, name: str | None = None, where: Callable[[ir.Value], bool] | None = None) -> Var:
        """Any value, optionally with a condition on it."""
        return Var(name, where)

    def constant(
        self,
        name: str | None = None,
        equals: float | int | None = None,
        where: Callable[[np.ndarray], bool] | None = None,
    ) -> Const:
        """A constant, by name, by the value of all its elements, or by a condition on its array."""
        return Const(name, equals, where)

    def optional(self, inner: Pattern) -> Optional:
        """An input that may be missing; the match then has None under the names inside."""
        return Optional(inner)

    def either(self, *options: Pattern) -> Either:
        """The first of several patterns that matches."""
        return Either(options)

    def rest(self, name: str) -> Rest:
        """All further inputs of a variadic operator."""
        return Rest(name)

    def attribute(self, name: str | None = None, where: Callable[[Any], bool] | None = None) -> Attribute:
        """Capture an attribute under a name, or put a condition on it."""
        return Attribute(name, where)

    def op(
        self,
        types: str | Sequence[str],
        *inputs: Pattern | Rest | float | int,
        as_: str | None = None,
        domain: str = "",
        shared: bool = False,
        where: Callable[[ir.Node], bool] | None = None,
        **attributes: Any,
    ) -> Op:
        """A node of one of `types` with these inputs and at least these attributes.

        Args:
            types: operator type, or several.
            inputs: patterns; a number stands for a constant with that value; a `rest` at the end takes what follows.
            as_: name under which the match holds the node.
            domain: operator set.
            shared: the node may have other readers; it then stays.
            where: condition on the node.
            attributes: a value to equal, or `p.attribute(…)`.
        """
        names = (types,) if isinstance(types, str) else tuple(types)
        rest = inputs[-1] if inputs and isinstance(inputs[-1], Rest) else None
        plain: list[Pattern] = []
        for given in inputs[: -1 if rest is not None else None]:
            if isinstance(given, Rest):
                raise TypeError("p.rest(…) takes all further inputs, so it must be the last")
            plain.append(given if isinstance(given, Pattern) else Const(None, equals=given))
        swappable = not domain and len(plain) == 2 and rest is None
        return Op(
            types=names,
            domain=domain,
            inputs=tuple(plain),
            rest=rest if isinstance(rest, Rest) else None,
            attributes={
                n: v if isinstance(v, Attribute) else Attribute(None, _equal_attribute(v))
                for n, v in attributes.items()
            },
            name=as_,
            shared=shared,
            commutative=swappable and all(t in COMMUTATIVE or t in _COMMUTATIVE_PAIRS for t in names),
            where=where,
        )


def depth(pattern: Pattern) -> int:
    """Operators on the longest way through a pattern."""
    if isinstance(pattern, Op):
        return 1 + max((depth(i) for i in pattern.inputs), default=0)
    if isinstance(pattern, Output):
        return depth(pattern.op)
    if isinstance(pattern, Optional):
        return depth(pattern.inner)
    if isinstance(pattern, Either):
        return max(depth(o) for o in pattern.options)
    return 0


def names(pattern: Pattern) -> list[str]:
    """Every name that a match of this pattern has."""
    found: list[str] = []
    waiting: list[Pattern] = [pattern]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Op):
            waiting.extend(one.inputs)
            found.extend(n for n in (one.name, one.rest.name if one.rest else None) if n)
            found.extend(a.name for a in one.attributes.values() if a.name)
        elif isinstance(one, Output):
            waiting.append(one.op)
        elif isinstance(one, Optional):
            waiting.append(one.inner)
        elif isinstance(one, Either):
            waiting.extend(one.options)
        elif isinstance(one, Var | Const) and one.name:
            found.append(one.name)
    return list(dict.fromkeys(found))
