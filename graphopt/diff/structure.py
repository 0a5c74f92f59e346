"""What is not alike: of two models as wholes, and of two nodes that are one and the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import onnx_ir as ir

from graphopt.diff.digest import attributes
from graphopt.diff.match import Matching, names
from graphopt.diff.model import Change, Group, Node, NodeChange
from graphopt.inspection.facts import described
from graphopt.ir.edit import PASS_KEY, constant, shape_of
from graphopt.ir.validate import describe
from graphopt.verify import real_inputs


def model_changes(first: ir.Model, second: ir.Model) -> list[Change]:
    """What differs of the models as wholes: signature, operator sets, format, metadata, functions."""
    both = (first, second)
    return [
        *_order("inputs", real_inputs(first), real_inputs(second)),
        *_order("outputs", first.graph.outputs, second.graph.outputs),
        *_tables("input", *({v.name or "": described(v) for v in real_inputs(m)} for m in both)),
        *_tables("output", *({v.name or "": described(v) for v in m.graph.outputs} for m in both)),
        *_tables("opset", *({n or "ai.onnx": str(v) for n, v in m.opset_imports.items()} for m in both)),
        *_tables("", *({"IR version": str(m.ir_version)} for m in both)),
        *_tables("function", *({f"{f.domain}.{f.name}": "defined" for f in m.functions.values()} for m in both)),
        *_tables("", *({"producer": f"{m.producer_name or ''} {m.producer_version or ''}".strip()} for m in both)),
        *_tables("metadata", first.metadata_props, second.metadata_props),
    ]  # fmt: skip


def same_signature(first: ir.Model, second: ir.Model) -> str:
    """Why one model cannot be put in the other's place, "" where it can: names, order and types have to agree.

    Sizes may differ as far as both leave room for one size.
    """
    for kind, mine, theirs in (
        ("inputs", real_inputs(first), real_inputs(second)),
        ("outputs", list(first.graph.outputs), list(second.graph.outputs)),
    ):
        if [v.name for v in mine] != [v.name for v in theirs]:
            return f"the {kind} are {_named(theirs)} instead of {_named(mine)}"
        for a, b in zip(mine, theirs, strict=True):
            if a.dtype != b.dtype or type(a.type) is not type(b.type) or _conflict(a.shape, b.shape):
                return f"{a.name!r} is {described(b)} instead of {described(a)}"
    return ""


def node_changes(matching: Matching) -> list[NodeChange]:
    """What changed at the nodes that are in both models, where anything did."""
    found = []
    for a, b in matching.paired:
        changes = tuple(_of_pair(a, b))
        if changes:
            found.append(NodeChange(describe(a), describe(b), a.op_type, changes))
    return found


def groups(matching: Matching) -> list[Group]:
    """The rewritten nodes as the record holds them."""
    return [
        Group(names(before), names(after), _operators(before), _operators(after), _made_by(after))
        for before, after in matching.rewritten
    ]


def lone(nodes: Iterable[ir.Node]) -> list[Node]:
    """Nodes that only one model has."""
    return [Node(describe(node), operator(node), _made_by([node])) for node in nodes]


def operator(node: ir.Node) -> str:
    """The operator of a node, with its domain where that is not ONNX's own."""
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def _of_pair(a: ir.Node, b: ir.Node) -> Iterator[Change]:
    if operator(a) != operator(b):
        yield Change("operator", operator(a), operator(b))
    yield from _tables("attribute", attributes(a), attributes(b))
    for place in range(max(len(a.inputs), len(b.inputs))):
        before, after = (_kind(node, place) for node in (a, b))
        if before != after:
            yield Change(f"input {place}", before, after)
    for place, (mine, theirs) in enumerate(zip(a.outputs, b.outputs, strict=False)):
        if _conflict(shape_of(mine), shape_of(theirs)) or _other_type(mine, theirs):
            yield Change(f"output {place}", _shown(mine), _shown(theirs))
    if len(a.outputs) != len(b.outputs):
        yield Change("outputs", str(len(a.outputs)), str(len(b.outputs)))


def _kind(node: ir.Node, place: int) -> str:
    value = node.inputs[place] if place < len(node.inputs) else None
    if value is None:
        return "none"
    if constant(value) is not None:
        return "constant"
    maker = value.producer()
    codes = maker is not None and maker.op_type == "DequantizeLinear" and constant(maker.inputs[0]) is not None
    return "constant codes" if codes else "computed"


def _shown(value: ir.Value) -> str:
    shape = shape_of(value)
    dims = "…" if shape is None else ",".join(str(d) if isinstance(d, int) else d.value or "?" for d in shape)
    return f"{value.dtype.name.lower() if value.dtype is not None else '?'}[{dims}]"


def _other_type(a: ir.Value, b: ir.Value) -> bool:
    return a.dtype is not None and b.dtype is not None and a.dtype != b.dtype


def _conflict(a: ir.Shape | None, b: ir.Shape | None) -> bool:
    """Whether no size fits both."""
    if a is None or b is None:
        return False
    if len(a) != len(b):
        return True
    pairs = ((x, y) for x, y in zip(a, b, strict=True) if isinstance(x, int) and isinstance(y, int))
    return any(x != y for x, y in pairs if x >= 0 and y >= 0)


def _order(kind: str, mine: Iterable[ir.Value], theirs: Iterable[ir.Value]) -> Iterator[Change]:
    before, after = ([value.name or "" for value in side] for side in (mine, theirs))
    if before != after and sorted(before) == sorted(after):
        yield Change(f"order of {kind}", ", ".join(before), ", ".join(after))


def _tables(kind: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield Change(f"{kind} {name}".strip(), before.get(name), after.get(name))


def _named(values: Iterable[ir.Value]) -> str:
    return ", ".join(value.name or "" for value in values) or "none"


def _operators(nodes: Iterable[ir.Node]) -> tuple[str, ...]:
    return tuple(operator(node) for node in nodes)


def _made_by(nodes: Iterable[ir.Node]) -> str:
    makers = dict.fromkeys(node.metadata_props.get(PASS_KEY, "") for node in nodes)
    return ", ".join(filter(None, makers))
