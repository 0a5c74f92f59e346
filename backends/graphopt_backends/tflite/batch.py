"""A batch whose size stays open: the file's first axes are marked, and the interpreter resizes them.

No lowering knows of it. The model is written for two sizes, and what differs between the two files is what depends on
the size. Where that is a length, it is marked as open (the schema's shape_signature). Where it is a number that a
builtin reads, as the shape of a RESHAPE, it is replaced by the form that stands for any size. If something else
differs, the batch cannot stay open, and the node is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from graphopt.support.backend import NodeIssue
from graphopt_backends.tflite.flatbuffer import Graph, Operator, Tensor
from graphopt_backends.tflite.lowering import Lowered, Written

SIZES = (2, 3)


def symbol(model: ir.Model) -> str | None:
    """The name of the batch where the inputs' first axes, and nothing else, are open; None where that is not so."""
    inputs = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
    names: set[str] = set()
    for value in inputs:
        for axis, dim in enumerate(value.shape or ()):
            if isinstance(dim, ir.SymbolicDim):
                if axis or dim.value is None:
                    return None
                names.add(dim.value)
    return names.pop() if len(names) == 1 else None


def pinned(model: ir.Model, size: int) -> ir.Model:
    """A copy of `model` for batches of `size`."""
    made = model.clone()
    for value in made.graph.inputs:
        if value.shape is not None:
            value.shape = ir.Shape([size if isinstance(dim, ir.SymbolicDim) else dim for dim in value.shape])
    return made


class _Closed(Exception):
    """Something depends on the size that cannot stay open."""


def for_any_batch(name: str, made: Callable[[int], Written]) -> Lowered:
    """The file for batches of any size.

    Args:
        name: of the batch, in the user's model.
        made: writes the model for one size.
    """
    small, large = (made(size) for size in SIZES)
    if small.issues and made(1).issues:
        return small.finish()
    origin = ""
    try:
        if small.issues:
            raise _Closed("the model is made for batches of 1")
        if large.issues or len(small.flat.operators) != len(large.flat.operators):
            raise _Closed("the model is another one at another size")
        for mine, other in zip(small.flat.operators, large.flat.operators, strict=True):
            origin = mine.origin
            _open_operator(mine, other, small.flat, large.flat)
        for tensor in small.flat.inputs:
            _close(small.flat.tensors[tensor])
        for operator in small.flat.operators:
            for tensor in operator.outputs:
                _close(small.flat.tensors[tensor])
    except _Closed as closed:
        reason = f"the batch {name} cannot stay open: {closed}; fix it with `--dim {name}=1`"
        return Lowered(None, (NodeIssue(origin, "", reason),), small.flat)
    return small.finish()


def _open_operator(mine: Operator, other: Operator, small: Graph, large: Graph) -> None:
    if (mine.builtin, mine.inputs, mine.outputs) != (other.builtin, other.inputs, other.outputs) or mine.graphs:
        raise _Closed(f"LiteRT's {mine.builtin} would be another operator at another size")
    if mine.builtin == "RESHAPE":
        counts = [math.prod(small.tensors[tensor].shape) for tensor in (mine.inputs[0], mine.outputs[0])]
        if counts[0] != counts[1]:
            raise _Closed("the model is made for batches of 1")
    for place, tensor in enumerate((*mine.inputs, *mine.outputs)):
        if tensor < 0:
            continue
        a, b = small.tensors[tensor], large.tensors[tensor]
        if a.data is None:
            _open_tensor(a, b)
        elif b.data is None or a.data.shape != b.data.shape or not _same(a.data, b.data):
            _open_constant(mine, place, a, b, small)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a is b or a.tobytes() == b.tobytes()


def _open_tensor(a: Tensor, b: Tensor) -> None:
    if a.variable or len(a.shape) != len(b.shape):
        raise _Closed("a state has a row for each element of the batch")
    open_axes = {axis for axis, (one, two) in enumerate(zip(a.shape, b.shape, strict=True)) if one != two}
    if any(a.shape[axis] * SIZES[1] != b.shape[axis] * SIZES[0] for axis in open_axes):
        raise _Closed("a length depends on it otherwise than in proportion")
    a.open = frozenset(open_axes)


def _open_constant(operator: Operator, place: int, a: Tensor, b: Tensor, graph: Graph) -> None:
    """Replace a number that depends on the size by what stands for any size."""
    if a.data is None or b.data is None or a.data.shape != b.data.shape or a.dtype != "int32":
        raise _Closed(f"a constant of LiteRT's {operator.builtin} depends on it")
    differing = np.flatnonzero(a.data != b.data)
    whole = graph.tensors[operator.inputs[0]].shape
    if operator.builtin == "RESHAPE" and len(differing) == 1:
        operator.options.newShape = [-1 if at in differing else int(dim) for at, dim in enumerate(a.data)]
    elif operator.builtin != "SLICE" or place != 2 or any(a.data[at] != whole[at] for at in differing):
        raise _Closed(f"LiteRT's {operator.builtin} reads it as a number")
    a.data = np.where(a.data != b.data, -1, a.data).astype(a.data.dtype)


def _close(tensor: Tensor) -> None:
    """Let the file be prepared for batches of 1, until somebody resizes it."""
    if tensor.open:
        tensor.shape = tuple(dim // SIZES[0] if axis in tensor.open else dim for axis, dim in enumerate(tensor.shape))
