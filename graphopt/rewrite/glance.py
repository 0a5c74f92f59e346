"""A first look at what makes a node's inputs: it drops most rules before anything is matched.

The look is taken once a node; what a rule needs of it is worked out once a rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import onnx_ir as ir

from graphopt.ir.edit import constant
from graphopt.rewrite.pattern import Const, Op, Output, Pattern

Glance = Sequence[tuple[str | None, bool]]
"""Of each input: the type of the operator that makes it, and whether it is a constant."""
Need = frozenset[str] | Literal["constant"] | None
"""What an input must be made by, or that it must be a constant; None where anything will do."""


def glance(node: ir.Node) -> Glance:
    """Look at the inputs of a node."""
    seen: list[tuple[str | None, bool]] = []
    for value in node.inputs:
        producer = value.producer() if value is not None else None
        seen.append((producer.op_type if producer is not None else None, constant(value) is not None))
    return seen


def needs_of(op: Op) -> tuple[tuple[Need, ...], ...]:
    """What an operator of a pattern needs of its inputs, for each order in which it may have them."""
    straight = tuple(map(_need, op.inputs))
    return (straight, straight[::-1]) if op.commutative else (straight,)


def _need(pattern: Pattern) -> Need:
    if isinstance(pattern, Output):
        pattern = pattern.op
    if isinstance(pattern, Op):
        return frozenset(pattern.types)
    return "constant" if isinstance(pattern, Const) else None


def meets(seen: Glance, needs: tuple[tuple[Need, ...], ...]) -> bool:
    """Whether a match is possible at all."""
    for order in needs:
        for need, (maker, fixed) in zip(order, seen, strict=False):
            if need is not None and not (fixed if need == "constant" else maker in need):
                break
        else:
            return True
    return False
