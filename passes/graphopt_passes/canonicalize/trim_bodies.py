"""Take from Ifs, Loops and Scans what they carry for nobody.

    x, w ─ Loop <h ─ f(h, v) ─ h', v ─ v> ─ y, w'      becomes      x ─ Loop <h ─ f(h, w) ─ h'> ─ y,  w ─ w'

A value that a Loop or Scan hands on unchanged from turn to turn is read where it came from; outputs that nobody reads
go, with what was computed for them alone. Fidelity: exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from graphopt.ir.edit import bodies, is_read, opset, owners
from graphopt.ir.infer import infer_shapes
from graphopt.ir.schema import attribute
from graphopt.pipeline import Context, Pass, PassResult
from graphopt_passes.canonicalize.eliminate_dead_code import sweep

_BATCHED = 8


class TrimBodies(Pass):
    """Take from Ifs, Loops and Scans what they carry for nobody."""

    name = "trim-bodies"
    fidelity = "exact"
    idempotent = True

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Look at every node with a body until nothing is left to take."""
        count = 0
        infer_shapes(model)
        while now := trim_bodies(model):
            count += now
        return PassResult(count, f"{count} values" if count else "")


def trim_bodies(model: ir.Model) -> int:
    """Take carried values and outputs that nobody needs; returns how many went."""
    return sum(_trim(owner) for owner in owners(model))


def _trim(graph: ir.Graph) -> int:
    count = 0
    for node in list(graph):
        if not any(True for _ in bodies(node)):
            continue
        count += sum(_trim(body) for body in bodies(node))
        if node.domain:
            continue
        if node.op_type == "If":
            count += _trim_if(node)
        elif node.op_type in ("Loop", "Scan") and not (node.op_type == "Scan" and opset(node) == _BATCHED):
            count += _trim_turns(node)
    return count


def _needed(value: ir.Value) -> bool:
    return is_read(value) or value.is_graph_output()


def _trim_if(node: ir.Node) -> int:
    kept = [i for i, value in enumerate(node.outputs) if _needed(value)]
    if not kept or len(kept) == len(node.outputs):
        return 0
    gone = len(node.outputs) - len(kept)
    for body in bodies(node):
        _keep_outputs(body, kept)
    _rebuild(node, list(node.inputs), kept)
    return gone


def _trim_turns(node: ir.Node) -> int:
    """Carried values of a Loop or Scan that stay the same, or that nothing needs, and scanned outputs unread."""
    body = node.attributes["body"].as_graph()
    is_loop = node.op_type == "Loop"
    lead = 2 if is_loop else 0  # inputs before the carried values, in the node and in the body
    ahead = 1 if is_loop else 0  # outputs of the body before theirs
    carried = len(node.inputs) - lead - (0 if is_loop else int(attribute(node, "num_scan_inputs")))
    fixed = [i for i in range(carried) if _unchanged(body, lead + i, ahead + i) and node.inputs[lead + i] is not None]
    for i in fixed:
        value, out = node.inputs[lead + i], node.outputs[i]
        assert value is not None
        _read_outside(body.inputs[lead + i], value)
        if is_read(out) and not out.is_graph_output():
            out.replace_all_uses_with(value)
    live = _live(node, body, carried, lead, ahead)
    kept = [i for i in range(len(node.outputs)) if i in live]
    gone = len(node.outputs) - len(kept)
    if not gone or not kept:
        return 0
    left = [i for i in range(carried) if i not in live]
    _keep_outputs(body, [*range(ahead), *(ahead + i for i in kept)])
    for i in sorted(left, reverse=True):
        del body.inputs[lead + i]
    inputs = [v for i, v in enumerate(node.inputs) if not lead <= i < lead + carried or i - lead not in left]
    if not is_loop:
        _trim_scan_attributes(node, [i - carried for i in kept if i >= carried])
    _rebuild(node, inputs, kept)
    return gone


def _unchanged(body: ir.Graph, index: int, out: int) -> bool:
    value = body.outputs[out]
    producer = value.producer()
    while producer is not None and producer.op_type == "Identity" and not producer.domain:
        value = producer.inputs[0]  # type: ignore[assignment]
        producer = value.producer()
    return value is body.inputs[index]


def _read_outside(inner: ir.Value, outer: ir.Value) -> None:
    """Let what reads a carried value in the body read what it is from the start, except what only hands it on."""
    for node, index in list(inner.uses()):
        if node.op_type != "Identity" or node.domain:
            node.replace_input_with(index, outer)


def _live(node: ir.Node, body: ir.Graph, carried: int, lead: int, ahead: int) -> set[int]:
    """Positions of outputs that are needed, outside or from turn to turn."""
    live = {i for i, value in enumerate(node.outputs) if _needed(value)}
    places = {body.inputs[lead + i]: i for i in range(carried)}
    waiting = [body.outputs[ahead + i] for i in live] + list(body.outputs[:ahead])
    seen: set[ir.Value] = set()
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        if value in places:
            if places[value] not in live:
                live.add(places[value])
                waiting.append(body.outputs[ahead + places[value]])
            continue
        producer = value.producer()
        if producer is None or producer.graph is not body:
            continue
        waiting.extend(v for v in producer.inputs if v is not None)
        for inner in bodies(producer):
            waiting.extend(_captured(inner))
    return live


def _captured(body: ir.Graph) -> Sequence[ir.Value]:
    found = list(body.outputs)
    for node in body:
        found.extend(v for v in node.inputs if v is not None)
        for inner in bodies(node):
            found.extend(_captured(inner))
    return found


def _keep_outputs(body: ir.Graph, kept: Sequence[int]) -> None:
    outputs = [body.outputs[i] for i in kept]
    body.outputs.clear()
    body.outputs.extend(outputs)
    sweep(body)


def _trim_scan_attributes(node: ir.Node, kept: Sequence[int]) -> None:
    for name in ("scan_output_axes", "scan_output_directions"):
        held = node.attributes.get(name)
        if held is not None:
            values = list(held.as_ints())
            node.attributes[name] = ir.AttrInt64s(name, [values[i] for i in kept])


def _rebuild(node: ir.Node, inputs: Sequence[ir.Value | None], kept: Sequence[int]) -> None:
    """The same node with fewer inputs and outputs."""
    graph = node.graph
    assert graph is not None
    attributes = list(node.attributes.values())
    made = ir.Node(
        node.domain, node.op_type, inputs, attributes, num_outputs=len(kept), name=node.name,
        doc_string=node.doc_string, metadata_props=dict(node.metadata_props),
    )  # fmt: skip
    graph.insert_before(node, made)
    for new, index in zip(made.outputs, kept, strict=True):
        old = node.outputs[index]
        new.name, new.type, new.shape, new.doc_string = old.name, old.type, old.shape, old.doc_string
        new.meta.update(old.meta)
        new.metadata_props.update(old.metadata_props)
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        old.name = None
    graph.remove(node, safe=True)
