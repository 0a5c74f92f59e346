"""What each operator says of its axes, and what must be set right in it after entries left: two small functions.

    @relate("Relu", "Sigmoid")
    def elementwise(node: ir.Node, graph: ChannelGraph) -> None: ...

    @repair("Reshape")
    def reshape(node: ir.Node, cut: Cut) -> None: ...

A plugin registers its own operators in the same way, with their domain. An operator that nobody speaks for pins all
axes that it touches: that is never wrong, at worst less is pruned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import onnx_ir as ir

from graphopt.channels.graph import ChannelGraph

if TYPE_CHECKING:
    from graphopt.channels.cut import Cut

Relation: TypeAlias = Callable[[ir.Node, ChannelGraph], None]
Repair: TypeAlias = "Callable[[ir.Node, Cut], None]"

_RELATIONS: dict[tuple[str, str], Relation] = {}
_REPAIRS: dict[tuple[str, str], Repair] = {}


def relate(*operators: str, domain: str = "") -> Callable[[Relation], Relation]:
    """Register the function that relates the axes of these operators."""

    def register(function: Relation) -> Relation:
        _RELATIONS.update({(domain, one): function for one in operators})
        return function

    return register


def repair(*operators: str, domain: str = "") -> Callable[[Repair], Repair]:
    """Register the function that sets attributes and shape constants right after entries left."""

    def register(function: Repair) -> Repair:
        _REPAIRS.update({(domain, one): function for one in operators})
        return function

    return register


def relation_of(node: ir.Node) -> Relation | None:
    """The relations of a node's operator, None where nobody speaks for it."""
    return _RELATIONS.get((_domain(node), node.op_type))


def repair_of(node: ir.Node) -> Repair | None:
    """What a node needs after entries left, None where that is nothing."""
    return _REPAIRS.get((_domain(node), node.op_type))


def operators() -> list[tuple[str, str]]:
    """Domain and type of the operators that are known, sorted."""
    return sorted(_RELATIONS)


def _domain(node: ir.Node) -> str:
    return "" if node.domain == "ai.onnx" else node.domain
