"""Passes and rules of other libraries, unchanged: an entry point of `graphopt.passes` may lead straight to them.

    [project.entry-points."graphopt.passes"]
    lift-constants = "onnx_ir.passes.common:LiftConstantsToInitializersPass"
    collapse-casts = "onnxscript.rewriter.rules.common:cast_cast_rule"

Taken so are passes of onnx_ir (`InPlacePass`, `FunctionalPass`: the class, or an object of it), rules and sets of rules
of onnxscript, and graphopt's own rules, one or a list. What they keep is not declared there: passes of onnx_ir and
rules of onnxscript count as "rounding", which is then verified like every promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
from onnx_ir.passes import PassBase

from graphopt.pipeline.functions import function_pass
from graphopt.pipeline.passes import Pass, PassResult, RewritePass
from graphopt.rewrite import Fidelity, Rule


def adapted(name: str, found: Any) -> Any:
    """A class of passes, where `found` is something of another library that can be one; else `found` itself."""
    if isinstance(found, type) and issubclass(found, PassBase):
        return from_onnx_ir(name, found())
    if isinstance(found, PassBase):
        return from_onnx_ir(name, found)
    if isinstance(found, Rule):
        return from_rules(name, [found])
    if isinstance(found, list | tuple) and found and all(isinstance(one, Rule) for one in found):
        return from_rules(name, found)
    if type(found).__module__.partition(".")[0] == "onnxscript" and hasattr(found, "apply_to_model"):
        return from_onnxscript(name, found)
    return found


def from_rules(name: str, rules: Sequence[Rule]) -> type[RewritePass]:
    """The pass that applies these rules until none fires."""
    told = rules[0].doc if len(rules) == 1 else ""
    doc = told or f"Apply {', '.join(rule.name for rule in rules)}."
    return type(name, (RewritePass,), {"name": name, "rules": tuple(rules), "__doc__": doc})


def from_onnx_ir(name: str, one: PassBase, *, fidelity: Fidelity = "rounding") -> type[Pass]:
    """The pass that runs a pass of onnx_ir.

    Args:
        name: of the pass.
        one: the pass as onnx_ir knows it.
        fidelity: what it keeps.
    """

    @function_pass(name, fidelity=fidelity)
    def run(model: ir.Model) -> PassResult:
        made = one(model)
        return PassResult(int(made.modified), model=made.model if made.model is not model else None)

    run.__doc__ = _first_line(one) or f"Run {type(one).__name__} of onnx_ir."
    return run


def from_onnxscript(name: str, rules: Any, *, fidelity: Fidelity = "rounding") -> type[Pass]:
    """The pass that applies an onnxscript `RewriteRule`, or a `RewriteRuleSet`, as `apply_to_model` does.

    Args:
        name: of the pass.
        rules: the rule or the set.
        fidelity: what it keeps.
    """

    @function_pass(name, fidelity=fidelity)
    def run(model: ir.Model) -> int:
        return int(rules.apply_to_model(model))

    names = [str(one.name or type(one).__name__) for one in getattr(rules, "rules", [rules])]
    run.__doc__ = f"Apply onnxscript's {', '.join(names)}."
    return run


def _first_line(thing: Any) -> str:
    return (type(thing).__doc__ or "").strip().partition("\n")[0]
