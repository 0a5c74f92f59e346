"""Values whose leading axes are grouped in another way."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, opset
from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute, has_input, integers
from graphopt.ir.symbolic import Dim, to_shape
from graphopt_passes.movement.layout import (
    BROADCAST,
    REDUCTIONS,
    Flip,
    Layout,
    Step,
    is_elementwise,
    movable_constant,
    one_dynamic,
    rank_of,
    target,
)

Dims = tuple[Dim, ...]
MOVES = ("Reshape", "Squeeze", "Unsqueeze", "Flatten")
_ONE_AXIS = frozenset({"Concat", "Split", "Softmax", "LogSoftmax", "Hardmax"})
_NORMALIZATIONS = frozenset({"LayerNormalization", "RMSNormalization"})
_GEMM_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16)


class Reshaped(Layout):
    """There, a shape that begins with the dimensions `here` begins with `there` instead, of the same product."""

    def __init__(self, here: Dims, there: Dims) -> None:
        self.here, self.there = here, there
        self.lead, self.shift = len(here), len(there) - len(here)

    def _there(self, dims: Dims) -> Dims:
        return self.there + dims[self.lead :]

    def reverse(self) -> Reshaped:
        """The leading dimensions the other way round."""
        return Reshaped(self.there, self.here)

    def fits(self, value: ir.Value) -> bool:
        """Whether the shape begins as it should, and constants can say it in both layouts."""
        dims = dims_of(value)
        if dims is None or dims[: self.lead] != self.here:
            return False
        return one_dynamic(dims) and one_dynamic(self._there(dims))

    def shape_there(self, value: ir.Value) -> ir.Shape:
        """The proven shape there."""
        dims = dims_of(value)
        assert dims is not None
        return to_shape(self._there(dims))

    def is_move(self, node: ir.Node) -> bool:
        """Whether the node only changes a shape, into one that a constant can say."""
        if node.op_type not in MOVES or node.domain:
            return False
        dims = dims_of(node.outputs[0])
        return dims is not None and one_dynamic(dims) and dims_of(node.inputs[0]) is not None

    def begins_there(self, move: ir.Node) -> bool:
        """Whether the move comes out of the layout there."""
        dims = dims_of(move.outputs[0])
        return dims is not None and self.fits(move.outputs[0]) and dims_of(move.inputs[0]) == self._there(dims)

    def ends_there(self, move: ir.Node) -> bool:
        """Whether the move goes into the layout there."""
        value = move.inputs[0]
        dims = dims_of(value)
        assert value is not None
        return dims is not None and self.fits(value) and dims_of(move.outputs[0]) == self._there(dims)

    def convert(self, value: ir.Value, *, there: bool) -> Step:
        """A Reshape into the layout or out of it."""
        dims = dims_of(value)
        assert dims is not None
        return Step("Reshape", target(self._there(dims) if there else dims))

    def between(self, move: ir.Node, *, source_there: bool, result_there: bool) -> Step | None:
        """A Reshape straight to the result, None where the source has that shape."""
        given, made = dims_of(move.inputs[0]), dims_of(move.outputs[0])
        assert given is not None
        assert made is not None
        given = self._there(given) if source_there else given
        made = self._there(made) if result_there else made
        return None if given == made else Step("Reshape", target(made))

    def saving(self, node: ir.Node) -> tuple[int, tuple[ir.Node, ...]]:
        """A MatMul of two matrices with a bias becomes one Gemm."""
        product = biased_matmul(node)
        if product is None:
            return 0, ()
        rank = rank_of(node.outputs[0]) or 0
        return (rank + self.shift == 2) - (rank == 2), (product, node)

    def flip(self, node: ir.Node) -> Flip | None:
        """The node with the axes that it names renumbered."""
        if node.domain or not self.fits(node.outputs[0]):
            return None
        if is_elementwise(node):
            return self._elementwise(node)
        if node.op_type == "MatMul":
            return self._matmul(node)
        if node.op_type in _ONE_AXIS:
            return self._one_axis(node)
        if node.op_type in _NORMALIZATIONS:
            return self._normalization(node)
        if node.op_type in REDUCTIONS:
            return self._reduction(node)
        if node.op_type == "Slice":
            return self._slice(node)
        return self._transpose(node) if node.op_type == "Transpose" else None

    def _suffix(self, value: ir.Value) -> int:
        return (rank_of(value) or 0) - self.lead

    def _elementwise(self, node: ir.Node) -> Flip | None:
        first = node.inputs[0]
        if node.op_type not in BROADCAST:
            return Flip((0,)) if first is not None and self.fits(first) else None
        suffix = self._suffix(node.outputs[0])
        inputs: list[int] = []
        constants: dict[int, np.ndarray] = {}
        for position, value in enumerate(node.inputs):
            rank = rank_of(value)
            if value is None or rank is None:
                return None
            if rank <= suffix:
                continue
            array = movable_constant(value)
            if array is not None:
                moved = self._array(array, suffix)
                if moved is None:
                    return None
                constants[position] = moved
            elif rank == suffix + self.lead and self.fits(value):
                inputs.append(position)
            else:
                return None
        return Flip(tuple(inputs), constants) if inputs else None

    def _array(self, array: np.ndarray, suffix: int) -> np.ndarray | None:
        """A constant that broadcasts to the layout here, written so that it broadcasts there."""
        lead, rest = array.shape[: array.ndim - suffix], array.shape[array.ndim - suffix :]
        if all(size == 1 for size in lead):
            return array.reshape(rest)
        numbers = [dim.number for dim in (*self.here, *self.there)]
        if None in numbers or list(lead) != numbers[: self.lead]:
            return None
        return array.reshape(*(n for n in numbers[self.lead :] if n is not None), *rest)

    def _axis(self, axis: int, value: ir.Value) -> int | None:
        """An axis there, None where it is one of those that are grouped anew."""
        rank = rank_of(value)
        if rank is None:
            return None
        axis = axis % rank
        return axis + self.shift if axis >= self.lead else None

    def _matmul(self, node: ir.Node) -> Flip | None:
        a, b = node.inputs
        if a is None or b is None or not self.fits(a) or constant(a) is not None:
            return None
        rank = rank_of(b)
        if self.fits(b) and self._suffix(a) >= 2 and self._suffix(b) >= 2 and constant(b) is None:
            return Flip((0, 1))
        # A matrix on the right is the same for every group; more axes must all belong to what stays as it is.
        suffix = self._suffix(a)
        keeps = suffix >= 1 and suffix + len(self.there) >= 2 and rank == 2
        return Flip((0,)) if keeps or (rank is not None and 2 <= rank <= suffix) else None

    def _one_axis(self, node: ir.Node) -> Flip | None:
        axis = attribute(node, "axis")
        moved = None if axis is None else self._axis(axis, node.outputs[0])
        given = node.inputs if node.op_type == "Concat" else node.inputs[:1]
        if moved is None or not all(v is not None and self.fits(v) and constant(v) is None for v in given):
            return None
        if not all(self.fits(v) for v in node.outputs):
            return None
        return Flip(tuple(range(len(given))), attributes={"axis": moved})

    def _normalization(self, node: ir.Node) -> Flip | None:
        x = node.inputs[0]
        if x is None or not self.fits(x) or any(v.uses() or v.is_graph_output() for v in node.outputs[1:]):
            return None
        axis = attribute(node, "axis")
        moved = self._axis(-1 if axis is None else axis, x)
        ranks = [rank_of(v) for v in node.inputs[1:] if v is not None]
        if moved is None or any(rank is None or rank > self._suffix(x) for rank in ranks):
            return None
        return Flip((0,), attributes={"axis": moved})

    def _reduction(self, node: ir.Node) -> Flip | None:
        x = node.inputs[0]
        if x is None or not self.fits(x):
            return None
        if node.op_type.startswith("Arg"):
            moved = self._axis(attribute(node, "axis"), x)
            return None if moved is None else Flip((0,), attributes={"axis": moved})
        return self._axes(node, x, 1)

    def _axes(self, node: ir.Node, x: ir.Value, index: int) -> Flip | None:
        axes = integers(node, "axes", index)
        moved = [self._axis(axis, x) for axis in axes or ()]
        found = [axis for axis in moved if axis is not None]
        if not axes or len(found) < len(axes):
            return None
        if "axes" in node.attributes:
            return Flip((0,), attributes={"axes": found})
        return Flip((0,), {index: np.array(found, np.int64)})

    def _slice(self, node: ir.Node) -> Flip | None:
        x = node.inputs[0]
        if x is None or not self.fits(x) or not ("axes" in node.attributes or has_input(node, 3)):
            return None
        return self._axes(node, x, 3)

    def _transpose(self, node: ir.Node) -> Flip | None:
        x, perm = node.inputs[0], attribute(node, "perm")
        if x is None or perm is None or not self.fits(x) or list(perm[: self.lead]) != list(range(self.lead)):
            return None
        moved = [*range(len(self.there)), *(axis + self.shift for axis in perm[self.lead :])]
        return Flip((0,), attributes={"perm": moved})


def biased_matmul(node: ir.Node) -> ir.Node | None:
    """The MatMul with a matrix to which a node adds a constant vector, as a Gemm does for matrices; None for others."""
    if node.op_type != "Add" or node.domain or opset(node) < 7:
        return None
    for index in (0, 1):
        product, bias = node.inputs[index], node.inputs[1 - index]
        made = product.producer() if product is not None else None
        if made is None or made.op_type != "MatMul" or made.domain or product is None or len(product.uses()) != 1:
            continue
        tensor, weight, result = constant(bias), rank_of(made.inputs[1]), dims_of(product)
        if tensor is None or weight != 2 or result is None or product.dtype not in _GEMM_FLOATS:
            continue
        size = result[-1].number
        if (
            product.is_graph_output()
            or size is None
            or tensor.size not in (1, size)
            or tensor.shape.rank() > len(result)
        ):
            continue
        if all(n == 1 for n in tensor.shape.numpy()[:-1]):
            return made
    return None


def relation(given: Dims, made: Dims) -> tuple[Dims, Dims]:
    """The leading dimensions in which two shapes of the same elements differ: without what they end in alike."""
    end = 0
    while end < min(len(given), len(made)) and given[-1 - end] == made[-1 - end]:
        end += 1
    return given[: len(given) - end], made[: len(made) - end]
