"""What an Einsum says: its operands and its result as lists of labels, one for each axis."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from graphopt.ir.schema import attribute
from graphopt_passes.scalars import rank_of


@dataclass(frozen=True)
class Equation:
    """Labels of every operand and of the result; an ellipsis is written out, as "0", "1", …"""

    operands: tuple[str, ...]
    result: str

    @property
    def plain(self) -> bool:
        """Whether no operand has a label twice (its diagonal) and the result has only labels of operands."""
        known = set("".join(self.operands))
        return all(len(set(one)) == len(one) for one in (*self.operands, self.result)) and set(self.result) <= known


def equation_of(node: ir.Node) -> Equation | None:
    """The equation of an Einsum, None where it is malformed or a rank is not known or does not fit."""
    text = str(attribute(node, "equation") or "").replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(node.inputs) or any(v is None for v in node.inputs):
        return None
    ranks = [rank_of(value) for value in node.inputs]
    operands, widest = [], ""
    for term, rank in zip(terms, ranks, strict=True):
        hidden = "" if rank is None else "".join(str(i) for i in range(rank - len(term.replace("...", ""))))
        if rank is None or len(hidden) > 9 or len(term.replace("...", hidden)) != rank:
            return None
        widest = max(widest, hidden if "..." in term else "", key=len)
        operands.append((term, hidden))
    # An ellipsis is aligned at its end: the shorter one has the last of the labels.
    written = [term.replace("...", widest[len(widest) - len(hidden) :]) for term, hidden in operands]
    if not arrow:
        letters = left.replace("...", "").replace(",", "")
        right = ("..." if widest else "") + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    return Equation(tuple(written), right.replace("...", widest))
