"""Take the branch of an If that is known to run.

    true ─ If <then: x ─ Relu ─ a; else: x ─ Exp ─ b> ─ y      becomes      x ─ Relu ─ y

The condition is a constant, follows from shapes, or was asked already by an If around this one: inside the then branch
of If(c), c holds. An If whose branches do the same goes as well, whatever its condition; and so does an If that asks
whether a Squeeze fits, where what reads it takes nothing else (see required_ranks). Fidelity: exact.
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.edit import bodies, constant, owners
from graphopt.ir.infer import infer_shapes
from graphopt.ir.symbolic import numbers, partial_of
from graphopt.pipeline import Context, Pass, PassResult
from graphopt_passes.canonicalize.required_ranks import learn_ranks
from graphopt_passes.canonicalize.same_graph import same_graph
from graphopt_passes.canonicalize.splice import Splicer
from graphopt_passes.canonicalize.squeeze_branch import squeezes

Known = dict[ir.Value, bool]
"""Conditions that hold at some place, by the value that was asked."""


class TakeConstantBranch(Pass):
    """Take the branch of an If whose condition is known, or whose branches do the same."""

    name = "take-constant-branch"
    fidelity = "exact"
    idempotent = True

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Look at every If, the outer ones first."""
        count = 0
        while True:
            infer_shapes(model)
            taken, learnt = take_branches(model, self.name), learn_ranks(model)
            count += taken
            if not taken and not learnt:
                return PassResult(count, f"{count} If" if count else "")


def take_branches(model: ir.Model, made_by: str) -> int:
    """Take every branch that is known to run; returns how many Ifs went. Shapes must have been inferred."""
    count = 0
    while True:
        found: list[tuple[ir.Node, ir.Graph]] = []
        for owner in owners(model):
            _search(owner, {}, found)
        if not found:
            return count
        splicer = Splicer(model, made_by)
        for node, branch in found:
            splicer.replace(node, splicer.copy(branch, node, {}, alone=True))
        count += len(found)


def _search(graph: ir.Graph, known: Known, found: list[tuple[ir.Node, ir.Graph]]) -> None:
    """Collect the Ifs to take, with the branch; what is inside of them is looked at when it has come out."""
    for node in graph:
        if node.op_type != "If" or node.domain:
            for body in bodies(node):
                _search(body, known, found)
            continue
        branch = _taken(node, known)
        if branch is not None:
            found.append((node, branch))
            continue
        asked = node.inputs[0]
        for name, holds in (("then_branch", True), ("else_branch", False)):
            _search(node.attributes[name].as_graph(), known if asked is None else {**known, asked: holds}, found)


def _taken(node: ir.Node, known: Known) -> ir.Graph | None:
    then, other = (node.attributes[name].as_graph() for name in ("then_branch", "else_branch"))
    holds = _holds(node.inputs[0], known)
    if holds is not None:
        return then if holds else other
    return then if same_graph(then, other) or squeezes(node, then, other) else None


def _holds(condition: ir.Value | None, known: Known) -> bool | None:
    """Whether a condition holds, None where it depends on the input."""
    turned = False
    while condition is not None:
        if condition in known:
            return known[condition] != turned
        tensor = constant(condition)
        if tensor is not None:
            return bool(tensor.numpy().reshape(-1)[0]) != turned if tensor.size == 1 else None
        held = numbers(partial_of(condition))
        if held is not None:
            return bool(held[0]) != turned if len(held) == 1 else None
        node = condition.producer()
        if node is None or node.domain or node.op_type not in ("Not", "Identity"):
            return None
        turned = turned != (node.op_type == "Not")
        condition = node.inputs[0]
    return None
