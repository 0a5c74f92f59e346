"""Do two bodies compute the same? They are walked side by side, and may differ in nothing but names."""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.evaluate import is_random

_LARGEST = 1 << 16
"""Bytes of a tensor up to which contents are compared; two larger ones are the same only where they are one."""


def same_graph(a: ir.Graph, b: ir.Graph) -> bool:
    """Whether two bodies give the same outputs for the same inputs, bit by bit; random ones never do."""
    return _same(a, b, {})


def _same(a: ir.Graph, b: ir.Graph, twins: dict[ir.Value, ir.Value]) -> bool:
    counts = ((len(g), len(g.inputs), len(g.outputs), len(g.initializers)) for g in (a, b))
    if len(set(counts)) != 1:
        return False
    twins.update(zip(a.inputs, b.inputs, strict=True))
    for x, y in zip(a.initializers.values(), b.initializers.values(), strict=True):
        if x.const_value is None or y.const_value is None or not same_tensor(x.const_value, y.const_value):
            return False
        twins[x] = y
    for m, n in zip(a, b, strict=True):
        if is_random(m) or not _same_node(m, n, twins):
            return False
        twins.update(zip(m.outputs, n.outputs, strict=True))
    return all(twins.get(x, x) is y for x, y in zip(a.outputs, b.outputs, strict=True))


def _same_node(m: ir.Node, n: ir.Node, twins: dict[ir.Value, ir.Value]) -> bool:
    if m.op_identifier() != n.op_identifier() or len(m.inputs) != len(n.inputs) or len(m.outputs) != len(n.outputs):
        return False
    if any((x if x is None else twins.get(x, x)) is not y for x, y in zip(m.inputs, n.inputs, strict=True)):
        return False
    if [bool(v.name) for v in m.outputs] != [bool(v.name) for v in n.outputs]:
        return False
    if m.attributes.keys() != n.attributes.keys():
        return False
    return all(_same_attribute(held, n.attributes[name], twins) for name, held in m.attributes.items())


def _same_attribute(a: ir.Attr, b: ir.Attr, twins: dict[ir.Value, ir.Value]) -> bool:
    if a.type != b.type or a.is_ref() or b.is_ref():
        return a.type == b.type and a.ref_attr_name == b.ref_attr_name and a.is_ref() == b.is_ref()
    if a.type == ir.AttributeType.GRAPH:
        return _same(a.value, b.value, twins)
    if a.type == ir.AttributeType.GRAPHS:
        return len(a.value) == len(b.value) and all(_same(x, y, twins) for x, y in zip(a.value, b.value, strict=True))
    if a.type == ir.AttributeType.TENSOR:
        return same_tensor(a.value, b.value)
    # By their bytes: 0.0 and -0.0 are equal numbers, and NaN equals nothing.
    return bool(
        ir.serde.serialize_attribute(a).SerializeToString() == ir.serde.serialize_attribute(b).SerializeToString()
    )


def same_tensor(a: ir.TensorProtocol, b: ir.TensorProtocol) -> bool:
    """Whether two tensors are the same, bit by bit; large ones are not read."""
    if a is b:
        return True
    if a.dtype != b.dtype or a.shape != b.shape or a.dtype == ir.DataType.STRING:
        return False
    return a.nbytes <= _LARGEST and a.tobytes() == b.tobytes()
