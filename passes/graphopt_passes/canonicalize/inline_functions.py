"""Put the body of a function of the model where it is called.

    x ─ local.Gelu(alpha=2) ─ y            becomes      x ─ Mul(2) ─ Erf ─ … ─ y
    local.Gelu: a ─ Mul(alpha) ─ Erf ─ … ─ b

References to attributes get the caller's values, or the function's defaults, or are left out where it has neither. A
function that follows another version of ONNX's operators is converted first. It is not inlined where that cannot be
done, where another operator set is imported in two versions, or where it calls itself. Fidelity: exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import onnx_ir as ir

from graphopt.errors import ModelError
from graphopt.ir.edit import adopt_opsets, bodies, is_read, nodes_of
from graphopt.pipeline import Context, Pass, PassResult
from graphopt_passes.canonicalize.eliminate_dead_code import unused_functions
from graphopt_passes.canonicalize.splice import Splicer, Values
from graphopt_passes.legalize.convert_opset import convert_graph

_MOST_NODES = 1_000_000


class InlineFunctions(Pass):
    """Put the bodies of the model's functions where they are called."""

    name = "inline-functions"
    fidelity = "exact"
    idempotent = True

    @dataclass(frozen=True)
    class Options:
        """How far to go."""

        nodes: int = _MOST_NODES
        """Nodes beyond which calls are left: functions that call functions can double the graph at every level."""

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Inline from the outermost calls inwards."""
        count, left = inline_functions(model, self.name, self.options.nodes)
        detail = f"{count} calls" if count else ""
        if left:
            name, why = next(iter(left.items()))
            detail += f"{'; ' if detail else ''}{len(left)} functions are still called, first {name}: {why}"
        return PassResult(count, detail)


def inline_functions(model: ir.Model, made_by: str, limit: int = _MOST_NODES) -> tuple[int, dict[str, str]]:
    """Inline every call in the main graph that can be.

    Returns:
        How many calls went, and the functions that are left, with the reason.
    """
    if not model.functions:
        return 0, {}
    adopt_opsets(model)
    left: dict[str, str] = {}
    ready: dict[ir.OperatorIdentifier, ir.Function] = {}
    for identifier, function in model.functions.items():
        try:
            ready[identifier] = _adapted(model, function)
        except ModelError as error:
            left[_words(identifier)] = str(error)
    splicer, count, grown = Splicer(model, made_by), 0, 0
    waiting = list(_calls(nodes_of(model.graph), ready))
    while waiting:
        node = waiting.pop()
        function = ready[node.op_identifier()]
        grown += function.graph.num_nodes()
        if grown > limit:
            left[_words(function.identifier())] = f"the graph would grow beyond {limit} nodes"
            break
        outputs = _inline(splicer, node, function)
        if outputs is None:
            left[_words(function.identifier())] = "it passes on an input that a caller leaves out"
            continue
        inside = (inner for made in splicer.made for inner in (made, *(n for b in bodies(made) for n in nodes_of(b))))
        waiting.extend(_calls(inside, ready))
        splicer.replace(node, outputs)
        count += 1
    if count:
        for identifier in unused_functions(model):
            del model.functions[identifier]
        adopt_opsets(model)
    return count, left


def _words(identifier: ir.OperatorIdentifier) -> str:
    return "::".join(part for part in identifier if part)


def _calls(nodes: Iterable[ir.Node], functions: dict[ir.OperatorIdentifier, ir.Function]) -> Iterator[ir.Node]:
    return (node for node in nodes if node.op_identifier() in functions)


def _inline(splicer: Splicer, node: ir.Node, function: ir.Function) -> list[ir.Value | None] | None:
    """Copy a function's body before a call; None where the call needs an output that the copy does not have."""
    given = [*node.inputs, *[None] * (len(function.inputs) - len(node.inputs))]
    values: Values = dict(zip(function.inputs, given, strict=True))
    for old, inner in zip(node.outputs, function.outputs, strict=False):
        if values.get(inner, inner) is None and (is_read(old) or old.is_graph_output()):
            return None
    attributes = {name: held for name, held in function.attributes.items() if held.value is not None}
    made = splicer.copy(function.graph, node, values, attributes=attributes | dict(node.attributes))
    return made[: len(node.outputs)]


def _adapted(model: ir.Model, function: ir.Function) -> ir.Function:
    """The function, or a copy of it that follows the model's version of ONNX's operators."""
    if _calls_itself(model, function.identifier()):
        raise ModelError("it calls itself")
    for domain, version in function.opset_imports.items():
        if not domain:
            continue
        if model.opset_imports.setdefault(domain, version) != version:
            other = model.opset_imports[domain]
            raise ModelError(f"it follows version {version} of the operators of {domain}, the model version {other}")
    source, target = function.opset_imports.get(""), model.opset_imports.get("")
    if source is None or source == target:
        return function
    if target is None:
        model.opset_imports[""] = source
        return function
    graph = function.graph.clone()
    convert_graph(graph, source, target)
    attributes = list(function.attributes.values())
    return ir.Function(function.domain, function.name, function.overload, graph=graph, attributes=attributes)


def _calls_itself(model: ir.Model, identifier: ir.OperatorIdentifier) -> bool:
    seen: set[ir.OperatorIdentifier] = set()
    waiting = [identifier]
    while waiting:
        for node in nodes_of(model.functions[waiting.pop()].graph):
            called = node.op_identifier()
            if called == identifier:
                return True
            if called in model.functions and called not in seen:
                seen.add(called)
                waiting.append(called)
    return False
