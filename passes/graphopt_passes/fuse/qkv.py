"""Compute the projections of one value by one MatMul: queries, keys and values, gates and what they gate.

    x ─┬─ MatMul(W₁) ─ Add(b₁) ─ q
       ├─ MatMul(W₂) ─ Add(b₂) ─ k      becomes      x ─ MatMul([W₁ W₂ W₃]) ─ Add([b₁ b₂ b₃]) ─ Split ─ q, k, v
       └─ MatMul(W₃) ─ Add(b₃) ─ v

Holds for two or more products with constant matrices; the Adds go along where every one of them has one. Whether it
pays depends on the runtime: one large product is quicker than three small ones, and the Split copies. So this is a pass
to ask for. Fidelity: rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import Names, add_constant, constant, is_read, mark, nodes_of, opset, owners, readers, redirect
from graphopt.pipeline import Context, Pass, PassResult

_MOST = 16
"""Readers of a value beyond which it is not looked at: no model projects one value so often."""
_SPLIT_HAS_INPUT = 13


@dataclass(frozen=True)
class _Projection:
    """A product, and the Add after it where there is one."""

    product: ir.Node
    weight: ir.Value
    sum: ir.Node | None
    bias: ir.Value | None

    @property
    def result(self) -> ir.Value:
        """What the projection makes."""
        return (self.sum or self.product).outputs[0]

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        tensor = constant(self.weight)
        assert tensor is not None
        return int(tensor.shape[1])


class FuseQKV(Pass):
    """Compute the projections of one value by one MatMul and a Split."""

    name = "fuse-qkv"
    fidelity = "rounding"
    idempotent = True

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Join the projections of every value that has several."""
        names, joined = Names(model), 0
        for owner in owners(model):
            if owner is not model.graph:
                continue  # a function has no initializers to put the joined matrix into
            seen: set[ir.Value] = set()
            for node in list(nodes_of(owner)):
                value = node.inputs[0] if node.op_type == "MatMul" and not node.domain else None
                if value is None or value in seen or node.graph is None:
                    continue
                seen.add(value)
                for group in _groups(value, node.graph):
                    _join(model, names, value, group)
                    joined += len(group)
        return PassResult(joined, f"{joined} projections" if joined else "")


def _groups(value: ir.Value, graph: ir.Graph) -> Iterator[list[_Projection]]:
    """The projections of a value that can be joined: of one type, all with a bias or all without."""
    users = list(islice(readers(value), _MOST + 1))
    if len(users) > _MOST:
        return
    found: dict[tuple[ir.DataType, bool], list[_Projection]] = {}
    for node in dict.fromkeys(users):
        one = _projection(node, value)
        if one is not None and node.graph is graph:
            tensor = constant(one.weight)
            assert tensor is not None
            found.setdefault((tensor.dtype, one.bias is not None), []).append(one)
    yield from (group for group in found.values() if len(group) > 1)


def _projection(node: ir.Node, value: ir.Value) -> _Projection | None:
    if node.op_type != "MatMul" or node.domain or node.inputs[0] is not value or node.inputs[1] is None:
        return None
    weight = node.inputs[1]
    tensor = constant(weight)
    if tensor is None or len(tensor.shape) != 2 or 0 in tensor.shape.numpy():
        return None
    after = list(islice(readers(node.outputs[0]), 2))
    if len(after) == 1 and after[0].op_type == "Add" and not after[0].domain and not node.outputs[0].is_graph_output():
        bias = next((one for one in after[0].inputs if one is not node.outputs[0]), None)
        held = constant(bias)
        if held is not None and tuple(held.shape) == (tensor.shape[1],) and after[0].graph is node.graph:
            return _Projection(node, weight, after[0], bias)
    return _Projection(node, weight, None, None)


def _join(model: ir.Model, names: Names, value: ir.Value, group: list[_Projection]) -> None:
    """Put one product and a Split where the first of the projections stands."""
    first = group[0].product
    graph = first.graph
    assert graph is not None
    stem = names.fresh(f"{value.name}_projections")
    weight = _concatenated(model, names, [one.weight for one in group])
    made = [ir.Node("", "MatMul", [value, weight], name=names.fresh(f"{stem}_MatMul"))]
    if group[0].bias is not None:
        bias = _concatenated(model, names, [one.bias for one in group])
        made.append(ir.Node("", "Add", [made[0].outputs[0], bias], name=names.fresh(f"{stem}_Add")))
    sizes = [one.width for one in group]
    attributes = [ir.AttrInt64("axis", -1)]
    inputs = [made[-1].outputs[0]]
    if opset(first) >= _SPLIT_HAS_INPUT:
        inputs.append(add_constant(model.graph, np.array(sizes, np.int64), names.fresh(f"{stem}_sizes")))
    else:
        attributes.append(ir.AttrInt64s("split", sizes))
    split = ir.Node("", "Split", inputs, attributes, num_outputs=len(group), name=names.fresh(f"{stem}_Split"))
    made.append(split)
    for node in made:
        for output in node.outputs:
            output.name = names.fresh(f"{node.name}_out")
            output.type = group[0].result.type
    graph.insert_before(first, made)
    old = [node for one in group for node in (one.product, one.sum) if node is not None]
    mark(made, "fuse-qkv", old)
    for one, output in zip(group, split.outputs, strict=True):
        redirect(one.result, output)
    for node in reversed(old):
        graph.remove(node, safe=True)
    for one in group:
        for held in (one.weight, one.bias):
            if held is not None and held.is_initializer() and not is_read(held) and not held.is_graph_output():
                assert held.graph is not None
                held.graph.initializers.pop(held.name, None)  # type: ignore[arg-type]


def _concatenated(model: ir.Model, names: Names, parts: list[ir.Value | None]) -> ir.Value:
    """A constant of these side by side."""
    tensors = [constant(part) for part in parts]
    array = np.concatenate([tensor.numpy() for tensor in tensors if tensor is not None], axis=-1)
    return add_constant(model.graph, array, names.fresh(f"{parts[0].name}_joined" if parts[0] else "joined"))
