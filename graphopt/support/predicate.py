"""The conditions of a support table: small predicates over named facts, as data, each with its sentence.

    {"fact": "attr.ceil_mode", "in": [0]}                 attribute ceil_mode must be 0
    {"fact": "input.1.constant", "in": [true]}            input 1 must be a constant
    {"fact": "input.0.rank", "min": 1, "max": 5}          the rank of input 0 must be between 1 and 5
    {"not": {"all": [{…}, {…}]}}                          not both at once

A predicate holds, fails, or cannot be told because a fact is unknown; unknown never counts as holding. A fact that
the operator's version does not have at all (an attribute that became an input) puts no condition on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

Fact = str | int | float | bool | None
Facts = Mapping[str, Fact]

UNKNOWN: Final = "unknown"
"""The value of a fact that applies to a node but cannot be read off the model."""


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Is(_Data):
    """The fact is one of the listed values (`in`), or a number between `min` and `max`, both included."""

    fact: str
    values: tuple[Fact, ...] | None = Field(default=None, alias="in")
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Is:
        if self.values is None and self.min is None and self.max is None:
            raise ValueError(f"the condition on {self.fact} needs 'in', 'min' or 'max'")
        return self

    def holds(self, facts: Facts) -> bool | None:
        """True, False, or None where the fact is unknown."""
        if self.fact not in facts:
            return True
        value = facts[self.fact]
        if value == UNKNOWN:
            return None
        if self.values is not None:
            return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in self.values)
        if not isinstance(value, (int, float)):
            return False
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)

    def sentence(self) -> str:
        """The condition in words, as in "attribute ceil_mode must be 0"."""
        return f"{name_of(self.fact)} must be {self.wanted()}"

    def wanted(self) -> str:
        """What the fact must be, in words."""
        if self.values is not None:
            span = _span(self.values)
            return span or " or ".join(words(self.fact, value) for value in self.values)
        if self.min is None:
            return f"at most {self.max:g}"
        return f"at least {self.min:g}" if self.max is None else f"between {self.min:g} and {self.max:g}"

    def facts(self) -> Iterator[str]:
        """Names of the facts that decide it."""
        yield self.fact


def _span(values: tuple[Fact, ...]) -> str:
    """ "between 1 and 6" for numbers in a row, "" for others."""
    numbers = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    if len(numbers) < max(3, len(values)) or sorted(numbers) != list(range(min(numbers), max(numbers) + 1)):
        return ""
    return f"between {min(numbers)} and {max(numbers)}"


class Not(_Data):
    """The inner predicate does not hold."""

    inner: Predicate = Field(alias="not")

    def holds(self, facts: Facts) -> bool | None:
        """True, False, or None where a fact that decides it is unknown."""
        # A fact that does not exist here cannot take part in a forbidden combination.
        if any(name not in facts for name in self.inner.facts()):
            return True
        inner = self.inner.holds(facts)
        return None if inner is None else not inner

    def sentence(self) -> str:
        """The condition in words."""
        return f"not at once: {self.inner.sentence()}".replace(" must be ", " is ")

    def facts(self) -> Iterator[str]:
        """Names of the facts that decide it."""
        yield from self.inner.facts()


class All(_Data):
    """Every inner predicate holds."""

    inner: tuple[Predicate, ...] = Field(alias="all")

    def holds(self, facts: Facts) -> bool | None:
        """True, False, or None where a fact that decides it is unknown."""
        answers = [predicate.holds(facts) for predicate in self.inner]
        return False if False in answers else None if None in answers else True

    def sentence(self) -> str:
        """The condition in words."""
        return " and ".join(predicate.sentence() for predicate in self.inner)

    def facts(self) -> Iterator[str]:
        """Names of the facts that decide it."""
        for predicate in self.inner:
            yield from predicate.facts()


def _kind(data: Any) -> str:
    if isinstance(data, Mapping):
        return "not" if "not" in data else "all" if "all" in data else "is"
    return "not" if isinstance(data, Not) else "all" if isinstance(data, All) else "is"


Predicate = Annotated[
    Annotated[Is, Tag("is")] | Annotated[Not, Tag("not")] | Annotated[All, Tag("all")], Discriminator(_kind)
]
Not.model_rebuild()
All.model_rebuild()


def name_of(fact: str) -> str:
    """A fact's name in words: "input.1.constant" is "input 1", "attr.axis" is "attribute axis"."""
    head, _, rest = fact.partition(".")
    if head == "attr":
        return f"attribute {rest}"
    if head in ("input", "output") and rest:
        index, _, what = rest.partition(".")
        return f"{head} {index}" if what in ("constant", "present") else f"the {what} of {head} {index}"
    return _NAMES.get(fact, fact.replace("_", " ").replace(".", " "))


def words(fact: str, value: Fact) -> str:
    """A fact's value in words, as a sentence about the fact would end."""
    last = fact.rpartition(".")[2]
    if value is None:
        return "absent"
    if isinstance(value, bool) and last in _YES_NO:
        return _YES_NO[last][0 if value else 1]
    return str(value)


def found(predicate: Predicate, facts: Facts) -> str:
    """What the node has instead, as in "found 1" or "found rank 6 and float64"."""
    seen = {name: facts[name] for name in dict.fromkeys(predicate.facts()) if name in facts}
    if len(seen) == 1:
        name, value = next(iter(seen.items()))
        return f"found {words(name, value)}"
    return "found " + ", ".join(f"{name_of(name)}: {words(name, value)}" for name, value in seen.items())


_NAMES: Final = {
    "shapes": "its shapes",
    "broadcast": "the broadcasting between its inputs",
    "empty": "a tensor without elements",
    "outputs": "the number of used outputs",
    "axes": "the set of reduced axes",
    "inputs.constant": "the number of constant inputs",
    "inputs.foldable": "its inputs",
    "axis.counted": "the direction in which attribute axis counts",
    "window.size": "the largest size of its window",
    "window.volume": "the number of elements in its window",
    "window.pads": "the padding that comes of pads or auto_pad",
    "window.rest": "what the last window leaves of the padded input",
    "resized": "the set of resized axes",
    "sizes": "the resized sizes",
    "inputs.count": "the number of inputs",
    "pattern": "the larger form that it is part of",
    "qdq.activation": "the quantization of its activations",
    "qdq.weight": "the quantization of its weights",
    "zero_point": "its zero point",
    "pairing": "the place of QuantizeLinear before DequantizeLinear",
    "qdq.zero_point": "the zero point of its activations",
    "qdq.bias": "the quantization of its bias",
    "qdq.per_channel": "per-channel quantization",
}
_YES_NO: Final = {
    "constant": ("a constant", "computed at run time"),
    "present": ("given", "absent"),
    "empty": ("present", "absent"),
    "foldable": ("all constants", "computed at run time, one or more"),
    "per_channel": ("used", "unused"),
}
