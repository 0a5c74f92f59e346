"""Do without optionals where it is known whether there is something inside.

    x ─ Optional ─ OptionalGetElement ─ y        becomes      x ─ y
    x ─ Optional ─ OptionalHasElement ─ y        becomes      true ─ y

From opset 18 on both take what is not an optional as well: a tensor or a sequence is always there. Fidelity: exact.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.pipeline import RewritePass
from graphopt.rewrite import Match, rule


def _inside(m: Match) -> tuple[bool, ir.Value | None]:
    """Whether the content of the root's input is known, and the content, None where there is none."""
    given = m.given[0] if m.given else None
    if given is None:
        return True, None
    node = given.producer()
    if node is not None and node.op_type == "Optional" and not node.domain:
        return True, node.inputs[0] if node.inputs else None
    return given.type is not None and not isinstance(given.type, ir.OptionalType), given


@rule("has-element", fidelity="exact")
def has_element(p):
    return p.op("OptionalHasElement", p.rest("given"))


@has_element.require("it is known what is inside")
def _(m):
    return _inside(m)[0]


@has_element.replace
def _(op, m):
    return op.constant(np.array(_inside(m)[1] is not None))


@rule("get-element", fidelity="exact")
def get_element(p):
    return p.op("OptionalGetElement", p.rest("given"))


@get_element.require("there is something inside")
def _(m):
    known, inside = _inside(m)
    return known and inside is not None


@get_element.replace
def _(op, m):
    return _inside(m)[1]


def _wrapped(g):
    g.since(15)
    x = g.Neg(g.input(g.shape()))
    return x if g.opset >= 18 and g.flag() else g.Optional(x)


@has_element.example
def _(g):
    g.output(g.OptionalHasElement(_wrapped(g)))


@get_element.example
def _(g):
    g.output(g.Neg(g.OptionalGetElement(_wrapped(g))))


class ResolveOptionals(RewritePass):
    """Do without optionals where it is known whether there is something inside."""

    name = "resolve-optionals"
    rules = (has_element, get_element)
