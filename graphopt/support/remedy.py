"""What would make a node legal, in a few words, from the condition that it breaks."""

from __future__ import annotations

from typing import Final

from graphopt.support.predicate import UNKNOWN, Facts, Is, Predicate, name_of

DIM: Final = "--dim NAME=SIZE"
"""Stands for the free dimensions of a model until they are known."""


def remedy(op_type: str, must: Predicate | None = None, known: Facts | None = None) -> str:
    """Advice for a node.

    Args:
        op_type: its operator.
        must: the condition it breaks; None where the operator is not supported in any form.
        known: its facts.
    """
    if must is None:
        return f"replace {op_type} by operators that are supported: the pass `legalize` does so where it knows how"
    if known is not None and any(known.get(name) == UNKNOWN for name in must.facts()):
        return f"give the sizes with {DIM}, or run shape inference"
    if not isinstance(must, Is) or must.values is None:
        return "change one of these; the pass `legalize` does so where it knows how"
    wanted = must.wanted()
    part = must.fact.rpartition(".")[2]
    if must.fact == "shapes":
        return f"fix the free dimensions with {DIM}"
    if must.fact == "pattern":
        return f"write it as a part of {wanted}, or replace it: the pass `legalize` does so where it knows how"
    if must.fact.startswith("qdq."):
        return f"quantize with a scheme that this backend takes ({wanted}), or leave the node in floating point"
    if part == "constant":
        computed = "make it an initializer; the pass `fold-constants` does so where its inputs are known"
        return computed if True in must.values else f"compute {name_of(must.fact)} at run time, or fold the node away"
    if part == "dtype":
        return f"cast {name_of(must.fact).removeprefix('the dtype of ')} to {wanted}"
    if part == "rank":
        return f"reshape around the node to rank {wanted}"
    if must.fact.startswith("attr."):
        return f"use an equivalent form with {part} = {wanted}; the pass `legalize` does so where it knows one"
    if part == "present":
        return f"use the form with {name_of(must.fact)} {wanted}"
    if must.fact == "broadcast":
        return "expand the smaller input to the full shape"
    return "use an equivalent form; the pass `legalize` does so where it knows one"
