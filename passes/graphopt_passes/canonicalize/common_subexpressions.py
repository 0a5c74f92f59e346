"""Compute once what is computed twice.

    x ─┬ Relu ─ a             x ─ Relu ─┬ a       x[N, 8] ─ Shape ─ Gather(0) ─ n             x ─ Shape ─ Gather(0) ─┬ n
       └ Relu ─ b   becomes             └ b       y[N, 4] ─ Shape ─ Gather(0) ─ m   becomes                          └ m

Two nodes are the same where operator, attributes (with the standard's defaults) and inputs are, constants by their
bits; and two integer tensors are where inference proves that they hold the same sizes. A body may read what the graph
around it has computed before, never what a sibling has. Random operators and those of unknown domains stay. Of two
outputs of the graph that are the same, one becomes an Identity. Fidelity: exact.
"""

from __future__ import annotations

from collections.abc import Hashable

import onnx_ir as ir

from graphopt.ir.edit import bodies, can_take_over, constant, is_read, opset, owners, redirect
from graphopt.ir.evaluate import is_random
from graphopt.ir.schema import defaults
from graphopt.ir.symbolic import partial_of
from graphopt.ir.validate import describe
from graphopt.pipeline import Context, Pass, PassResult
from graphopt.rewrite import Rewrite
from graphopt.rewrite.pattern import COMMUTATIVE
from graphopt_passes.canonicalize.eliminate_dead_code import sweep

_KNOWN_DOMAINS = ("", "ai.onnx.ml")
_SMALL = 1024
"""Bytes up to which constants are compared by content; larger ones are the same only if they are one."""
_CHEAP = ("Identity", "Constant")


class EliminateCommonSubexpressions(Pass):
    """Compute once what is computed twice."""

    name = "eliminate-common-subexpressions"
    fidelity = "exact"

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Walk every graph once, in order."""
        log = merge_equal(model)
        return PassResult(len(log), f"{len(log)} nodes" if log else "", log=tuple(log))


def merge_equal(model: ir.Model) -> list[Rewrite]:
    """Let readers of equal values read the first of them; returns what went."""
    log: list[Rewrite] = []
    for owner in owners(model):
        before = len(log)
        _Scope(None, log).visit(owner)
        if len(log) > before:
            sweep(owner)
    return log


class _Scope:
    """What a graph has computed so far, and the scope around it."""

    def __init__(self, outer: _Scope | None, log: list[Rewrite]) -> None:
        self.outer, self.log = outer, log
        self.seen: dict[Hashable, tuple[ir.Value, ...]] = {}

    def visit(self, graph: ir.Graph) -> None:
        for node in graph:
            for body in bodies(node):
                _Scope(self, self.log).visit(body)
            key = _content_key(node) or _key(node)
            if key is None:
                continue
            first = self.find(key)
            if first is None:
                self.seen[key] = tuple(node.outputs)
            else:
                self.merge(node, first)

    def find(self, key: Hashable) -> tuple[ir.Value, ...] | None:
        scope: _Scope | None = self
        while scope is not None:
            found = scope.seen.get(key)
            if found is not None:
                return found
            scope = scope.outer
        return None

    def merge(self, node: ir.Node, first: tuple[ir.Value, ...]) -> None:
        graph, changed, made = node.graph, False, ()
        assert graph is not None
        for old, new in zip(node.outputs, first, strict=True):
            if not old.is_graph_output() or can_take_over(old, new):
                changed = is_read(old) or old.is_graph_output() or changed
                redirect(old, new)
            else:
                for user, index in old.uses():
                    user.replace_input_with(index, new)
                    changed = True
        stuck = [(old, new) for old, new in zip(node.outputs, first, strict=True) if old.is_graph_output()]
        if not stuck or node.op_type not in _CHEAP:
            made = tuple(_pass_on(old, new) for old, new in stuck)
            changed = changed or bool(stuck)
            graph.remove(node, safe=True)
        if changed:
            self.log.append(Rewrite("common-subexpression", (describe(node),), made))


def _pass_on(old: ir.Value, value: ir.Value) -> str:
    """Let an Identity make what is an output of the graph."""
    node = old.producer()
    assert node is not None
    assert node.graph is not None
    identity = ir.Node("", "Identity", [value], name=node.name if len(node.outputs) == 1 else f"{node.name}_{old.name}")
    identity.metadata_props.update(node.metadata_props)
    new = identity.outputs[0]
    new.type, new.shape = old.type, old.shape
    node.graph.insert_before(node, identity)
    redirect(old, new)
    return describe(identity)


def _content_key(node: ir.Node) -> Hashable | None:
    """What the only output of a node holds, where that is known down to the symbols."""
    held = partial_of(node.outputs[0]) if len(node.outputs) == 1 else None
    return None if held is None else ("content", node.outputs[0].dtype, held)


def _key(node: ir.Node) -> Hashable | None:
    """What makes two nodes the same; None where nothing does."""
    if node.domain not in _KNOWN_DOMAINS or is_random(node) or not node.outputs or any(True for _ in bodies(node)):
        return None
    inputs = [_input_key(value) for value in node.inputs]
    if node.op_type in COMMUTATIVE and not node.domain:
        inputs.sort(key=repr)
    while inputs and inputs[-1] is None:
        inputs.pop()
    usual = defaults(node.op_type, node.domain, opset(node))
    attributes = frozenset(
        (name, _attribute_key(held))
        for name, held in node.attributes.data.items()
        if held.is_ref() or name not in usual or held.value != usual[name]
    )
    names = tuple(bool(value.name) for value in node.outputs)
    return (node.domain, node.op_type, node.overload, attributes, tuple(inputs), names)


def _input_key(value: ir.Value | None) -> Hashable:
    tensor = constant(value)
    if value is None or tensor is None or tensor.nbytes > _SMALL:
        return None if value is None else id(value)
    return _tensor_key(tensor)


def _tensor_key(tensor: ir.TensorProtocol) -> Hashable:
    if tensor.dtype == ir.DataType.STRING:
        return ("strings", tuple(tensor.shape), tuple(tensor.numpy().reshape(-1)))
    return (tensor.dtype, tuple(tensor.shape), tensor.tobytes())


def _attribute_key(held: ir.Attr) -> Hashable:
    if held.is_ref():
        return ("ref", held.ref_attr_name)
    if held.type == ir.AttributeType.TENSOR:
        return _tensor_key(held.value)
    if held.type in (ir.AttributeType.FLOAT, ir.AttributeType.FLOATS):
        # As hex, so that -0 is not 0 and NaN is NaN.
        numbers = held.value if isinstance(held.value, tuple | list) else (held.value,)
        return (held.type, tuple(float(n).hex() for n in numbers))
    return (held.type, tuple(held.value) if isinstance(held.value, list) else repr(held.value))
