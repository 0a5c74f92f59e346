"""All that can be said of Ifs, Loops and Scans without making the graph larger, in one call."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

from graphopt.ir.edit import owners
from graphopt_passes.canonicalize.required_ranks import learn_ranks
from graphopt_passes.canonicalize.take_constant_branch import take_branches
from graphopt_passes.canonicalize.trim_bodies import trim_bodies
from graphopt_passes.canonicalize.unroll_loops import unroll_loops
from graphopt_passes.canonicalize.unroll_scans import unroll_scans

_WITH_BODIES = ("If", "Loop", "Scan")
_LARGEST = 2000
"""Nodes that a Loop or Scan may become for folding to compute."""


def simplify_control_flow(model: ir.Model, made_by: str) -> Counter[str]:
    """Take branches, write out what runs once or depends on constants alone, and drop what is carried for nobody.

    Shapes must have been inferred. What it changed opens more for other passes, and the other way round, so they take
    turns.

    Returns:
        How often each thing was done; "rank learnt" changes nothing but lets inference go on.
    """
    if not any(node.op_type in _WITH_BODIES for owner in owners(model) for node in owner):
        return Counter()
    counts = {
        "branch taken": take_branches(model, made_by),
        "loop written out": unroll_loops(model, made_by, _LARGEST, shrink=True),
        "scan written out": unroll_scans(model, made_by, _LARGEST, shrink=True),
        "carried for nobody": trim_bodies(model),
        "rank learnt": learn_ranks(model),
    }
    return Counter({what: count for what, count in counts.items() if count})
