"""Give the bodies of control flow their own constants, for compilers that take a body by itself.

    w;  If(c) { x, w ─ Mul ─ y }      becomes      If(c) { w;  x, w ─ Mul ─ y }

onnxruntime-qnn refuses an If whose branches read a constant of the graph around them. The content is shared in memory,
and written once more into the file. Fidelity: exact.
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.edit import Names, bodies, constant
from graphopt.pipeline import Context, Pass, PassResult
from graphopt_passes.canonicalize.eliminate_dead_code import sweep, unused_initializers


class LocalizeConstants(Pass):
    """Give the bodies of control flow their own constants."""

    name = "localize-constants"
    fidelity = "exact"
    idempotent = True

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Copy each constant into every body that reads it from outside."""
        names = Names(model)
        count = sum(_localize(body, names) for node in model.graph for body in bodies(node))
        if count:
            sweep(model.graph)
            unused_initializers(model)
        return PassResult(count, f"{count} constants" if count else "")


def _localize(body: ir.Graph, names: Names) -> int:
    own: dict[ir.Value, ir.Value] = {}
    for node in body:
        for index, value in enumerate(node.inputs):
            if value is None or _is_of(value, body):
                continue
            tensor = constant(value)
            if tensor is None:
                continue
            if value not in own:
                own[value] = _copy(body, value, tensor, names)
            node.replace_input_with(index, own[value])
    for index, value in enumerate(body.outputs):
        tensor = None if _is_of(value, body) else constant(value)
        if tensor is not None:
            if value not in own:
                own[value] = _copy(body, value, tensor, names)
            body.outputs[index] = own[value]
    return len(own) + sum(_localize(inner, names) for node in body for inner in bodies(node))


def _is_of(value: ir.Value, body: ir.Graph) -> bool:
    producer = value.producer()
    return producer.graph is body if producer is not None else value.graph is body


def _copy(body: ir.Graph, value: ir.Value, tensor: ir.TensorProtocol, names: Names) -> ir.Value:
    name = names.fresh(f"{value.name}_{body.name or 'body'}")
    made = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    body.register_initializer(made)
    return made
