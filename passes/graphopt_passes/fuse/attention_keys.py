"""Keys and values as Attention wants them: not transposed for the MatMul, and once for each group of heads."""

from __future__ import annotations

import numpy as np

from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute
from graphopt.ir.symbolic import Dim

_ONE = Dim.of(1)


def untransposed(op, value, graph):
    """A value with its last two dimensions swapped, by the Transpose that made it where there is one."""
    rank = len(dims_of(value))
    order = [*range(rank - 2), rank - 1, rank - 2]
    node = value.producer()
    if node is not None and node.graph is graph and not node.domain:
        if node.op_type == "Transpose":
            before = attribute(node, "perm") or range(rank)[::-1]
            both = [before[axis] for axis in order]
            return node.inputs[0] if both == list(range(rank)) else op.Transpose(node.inputs[0], perm=both)
        if node.op_type == "Reshape":
            found = _untransposed_flat(op, node, dims_of(value))
            if found is not None:
                return found
    return op.Transpose(value, perm=order)


def _untransposed_flat(op, node, dims):
    """The same through Reshape ─ Transpose(0, 2, 1) ─ Reshape, as torch writes it; None where that is not there."""
    flip = node.inputs[0].producer()
    if flip is None or flip.domain or flip.op_type != "Transpose" or list(attribute(flip, "perm") or ()) != [0, 2, 1]:
        return None
    wanted, before = (*dims[:-2], dims[-1], dims[-2]), dims_of(flip.inputs[0])
    if before is None or before[1:] != wanted[-2:]:
        return None
    source = flip.inputs[0].producer()
    if source is None or source.domain or source.op_type != "Reshape":
        return None
    if dims_of(source.inputs[0]) == wanted:
        return source.inputs[0]
    numbers = [-1 if dim.number is None else dim.number for dim in wanted]
    if numbers.count(-1) > 1 or 0 in numbers:
        return None
    return op.Reshape(source.inputs[0], np.array(numbers, np.int64))


def once_each(value, heads):
    """What Unsqueeze, Expand and Reshape repeat for each group of heads, None where they do not."""
    chain = [value]
    for types in (("Reshape",), ("Expand",), ("Unsqueeze", "Reshape")):
        node = chain[-1].producer()
        if node is None or node.domain or node.op_type not in types or node.inputs[0] is None:
            return None
        chain.append(node.inputs[0])
    repeated, wide, narrow, first = (dims_of(one) for one in chain)
    if repeated is None or wide is None or narrow is None or first is None or not len(wide) == len(narrow) == 5:
        return None
    batch, groups, size, keys, width = wide
    fits = (
        first == (batch, groups, keys, width)
        and narrow == (batch, groups, _ONE, keys, width)
        and repeated == (batch, heads, keys, width)
        and groups.number and size.number and heads.number == groups.number * size.number
    )  # fmt: skip
    return chain[-1] if fits else None
