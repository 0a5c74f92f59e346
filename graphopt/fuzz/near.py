"""Near misses of one rule: its examples, changed a little, and whether it is right where it fires all the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from graphopt.fuzz.draw import OPSETS, Drawn, refusals
from graphopt.fuzz.mutate import mutate
from graphopt.fuzz.piece import Piece
from graphopt.fuzz.run import execute
from graphopt.fuzz.trial import Failure, difference
from graphopt.fuzz.valid import complaint
from graphopt.ir import infer_shapes, load, validate
from graphopt.legalize import Substitution
from graphopt.rewrite import apply_rules
from graphopt.testing.rules import RegisteredRule

_KINDS = {"exact": (0, 1, 2), "rounding": (0, 1), "lossy": (0,)}
"""Kinds of inputs by what a rule promises, see `Sketch.feeds`: 2 has zeros of both signs, infinities and NaN."""


def near_misses(registered: RegisteredRule, count: int, seed: int = 0) -> Iterator[Drawn]:
    """Valid models close to what a rule is for; fewer than `count`, since most changes make none.

    Args:
        registered: a rule with examples.
        count: how many to try.
        seed: the same one gives the same models.
    """
    rule = registered.rule
    for number in range(count):
        source = random.Random(f"{rule.name}/{seed}/{number}")
        piece = Piece(source, source.choice(OPSETS), (), "", chained=0)
        source.choice(rule.examples)(piece)
        mutate(piece, source)
        try:
            proto = piece.model()
            samples = tuple(piece.feeds(3 * number + kind) for kind in _KINDS[rule.fidelity])
            expected = tuple(execute(proto, samples))
        except refusals():
            continue
        sound = rule.fidelity == "exact" or all(map(_finite, expected))
        if sound and complaint(proto) is None and all(_as_declared(proto, one) for one in expected):
            yield Drawn(number, proto, samples, expected, False, ())


def check_near(registered: RegisteredRule, drawn: Drawn) -> Failure | None:
    """What is wrong with what a rule makes of a model, None where it does not fire or is right.

    Every third model is shown to it as a file comes, with no type or shape inferred, unless its pass infers them.
    """
    rule, model = registered.rule, load(drawn.proto)
    if drawn.seed % 3 or issubclass(registered.one, Substitution):
        infer_shapes(model)
    try:
        if not apply_rules(model, [rule]).rewrites:
            return None
        validate(model)
    except Exception as error:  # noqa: BLE001 (whatever a rule raises is what is looked for)
        return Failure("crash", rule.name, f"{type(error).__name__}: {error}")
    return difference(drawn, model, rule.fidelity)[0]


def _as_declared(proto: Any, answer: dict[str, Any]) -> bool:
    """Whether the outputs have the sizes that the onnx package inferred; of a few windows it is wrong."""
    for value in proto.graph.output:
        dims, sizes = value.type.tensor_type.shape.dim, answer[value.name].shape
        if len(dims) != len(sizes) or any(
            dim.dim_value not in (0, size) for dim, size in zip(dims, sizes, strict=True)
        ):
            return False
    return True


def _finite(answer: dict[str, Any]) -> bool:
    return all(array.dtype.kind != "f" or bool(np.isfinite(array).all()) for array in answer.values())
