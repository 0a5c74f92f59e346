"""The emitter: where each ONNX value lives in the flatbuffer, and the few verbs that lowerings write with.

A lowering reads operands in the layout it wants, writes builtins on tensors, and says in which layout the result is
stored. A value is converted to another layout only when somebody reads it so, and once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from graphopt_backends.tflite import broadcast, builtins, layout
from graphopt_backends.tflite.flatbuffer import FlatModel, Operator, options
from graphopt_backends.tflite.layout import Layout
from graphopt_backends.tflite.registry import Decline

_ACTIVATION_TABLES = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions", "DIV": "DivOptions"}


class Emitter:
    """Lowerings' view of the model that is being written.

    Attributes:
        opset: version of ONNX's own operator set.
        flat: the file under construction.
        origin: name of the ONNX node that is being lowered.
        done: nodes that were fused into an earlier one.
        taken: nodes that the node being lowered fuses; they are done when it is.
        broken: values of which nothing is known, because the node that makes them was declined.
    """

    def __init__(self, opset: int) -> None:
        self.opset, self.flat, self.origin = opset, FlatModel(), ""
        self.done: set[ir.Node] = set()
        self.taken: list[ir.Node] = []
        self.broken: set[ir.Value] = set()
        self._homes: dict[ir.Value, dict[Layout, int]] = {}
        self._folded: dict[ir.Value, np.ndarray] = {}
        self._made: dict[ir.Value, tuple[tuple[int, ...], str]] = {}

    # What is known of a value

    def shape(self, value: ir.Value) -> tuple[int, ...]:
        """The ONNX shape of `value`.

        Raises:
            Decline: the rank or a dimension is not known.
        """
        if value in self._made:
            return self._made[value][0]
        known = self.constant(value) if value.shape is None else None
        dims = known.shape if known is not None else value.shape
        if dims is None:
            raise Decline(f"the shape of {value.name!r} is not known")
        if not all(isinstance(dim, int) and dim >= 0 for dim in dims):
            raise Decline(f"the shape of {value.name!r}, {value.shape}, is not static")
        return tuple(int(dim) for dim in dims)  # type: ignore[arg-type]

    def rank(self, value: ir.Value) -> int:
        """The rank of `value`."""
        return len(self.shape(value))

    def dtype(self, value: ir.Value) -> str:
        """The element type of `value` as numpy's name.

        Raises:
            Decline: it is not known.
        """
        if value in self._made:
            return self._made[value][1]
        known = self.constant(value) if value.dtype is None else None
        if known is not None:
            return str(known.dtype)
        if value.dtype is None:
            raise Decline(f"the element type of {value.name!r} is not known")
        return str(value.dtype.numpy())

    def constant(self, value: ir.Value) -> np.ndarray | None:
        """The array of `value` where it is known while compiling."""
        if value in self._folded:
            return self._folded[value]
        tensor = ir.convenience.get_const_tensor(value)
        return None if tensor is None else tensor.numpy()

    def fold(self, value: ir.Value, array: np.ndarray) -> None:
        """Make `value` a constant of the file."""
        self._folded[value] = array

    # Values and where they live

    def layouts(self, value: ir.Value) -> Sequence[Layout]:
        """The layouts in which `value` is stored so far, its producer's first; empty for a constant."""
        return tuple(self._homes.get(value, ()))

    def layout(self, value: ir.Value) -> Layout:
        """The layout that the producer of `value` made."""
        return next(iter(self._homes.get(value, ())), layout.identity(self.rank(value)))

    def write(self, value: ir.Value, tensor: int, stored_as: Layout | None = None) -> None:
        """Say that `tensor` holds `value`.

        Raises:
            Decline: its shape is not the one that ONNX's shape inference found.
        """
        found = self.flat.tensors[tensor].shape
        where = layout.identity(len(found)) if stored_as is None else stored_as
        if value.shape is None or not value.shape.is_static():
            # Inference does not know every operator; what is written is the better witness.
            self._made[value] = layout.stored(found, layout.inverse(where)), self.dtype_of(tensor)
        expected = layout.stored(self.shape(value), where)
        if expected != found:
            raise Decline(f"LiteRT would make shape {list(found)} of {value.name!r}, which is {list(expected)}")
        self._homes.setdefault(value, {})[where] = tensor
        if not self.flat.tensors[tensor].name:
            self.flat.tensors[tensor].name = value.name or ""

    def alias(self, value: ir.Value, source: ir.Value, change: Callable[[Layout], Layout]) -> None:
        """Say that `value` is stored wherever `source` is, with each layout changed by `change`."""
        for where, tensor in list(self._homes[source].items()):
            self._homes.setdefault(value, {})[change(where)] = tensor

    def read(self, value: ir.Value, wanted: Layout | None = None) -> int:
        """The tensor that holds `value` in the layout `wanted` (ONNX's own by default), written if there is none."""
        where = layout.identity(self.rank(value)) if wanted is None else wanted
        homes = self._homes.setdefault(value, {})
        if where not in homes:
            array = self.constant(value)
            if array is not None:
                homes[where] = self.array(np.transpose(array, where), value.name or "")
            elif homes:
                homes[where] = self._convert(value, homes, where)
            else:
                raise Decline(f"{value.name!r} was not written: the node that makes it has no lowering")
        return homes[where]

    def _convert(self, value: ir.Value, homes: dict[Layout, int], wanted: Layout) -> int:
        for have, tensor in homes.items():
            if not layout.moves_data(self.flat.tensors[tensor].shape, layout.between(have, wanted)):
                return self.reshape(tensor, layout.stored(self.shape(value), wanted))
        have, tensor = next(iter(homes.items()))
        return self.transpose(tensor, layout.between(have, wanted))

    def common_layout(self, values: Sequence[ir.Value]) -> Layout:
        """The layout under which reading all of `values` moves the fewest elements; only the highest rank counts."""
        rank = max(self.rank(value) for value in values)
        stored = [value for value in values if self.rank(value) == rank and self.layouts(value)]
        stored.sort(key=lambda value: -math.prod(self.shape(value)))
        candidates = [where for value in stored for where in self.layouts(value)]
        return min(candidates, key=lambda where: self._moved(stored, where), default=layout.identity(rank))

    def _moved(self, values: Sequence[ir.Value], wanted: Layout) -> int:
        def moves(value: ir.Value) -> bool:
            shape = self.shape(value)
            return all(
                layout.moves_data(layout.stored(shape, have), layout.between(have, wanted))
                for have in self.layouts(value)
            )

        return sum(math.prod(self.shape(value)) for value in values if moves(value))

    def operands(self, values: Sequence[ir.Value]) -> tuple[list[int], Layout]:
        """Tensors of `values`, stored so that they broadcast against each other, and their common layout."""
        where = self.common_layout(values)
        return [self.broadcastable(value, where) for value in values], where

    def broadcastable(self, value: ir.Value, where: Layout) -> int:
        """The tensor of `value` for broadcasting against tensors stored as `where`, whose rank may be higher."""
        shape, array = self.shape(value), self.constant(value)
        lifted = (1,) * (len(where) - len(shape)) + shape
        if array is not None:
            array = np.transpose(array.reshape(lifted), where)
            leading = next((axis for axis, dim in enumerate(array.shape) if dim != 1), array.ndim)
            return self.array(array.reshape(array.shape[leading:]), value.name or "")
        if len(shape) == len(where):
            return self.read(value, where)
        tensor = self.reshape(self.read(value), lifted)
        return self.transpose(tensor, where)

    # Verbs on tensors

    def shape_of(self, tensor: int) -> tuple[int, ...]:
        """The stored shape of `tensor`."""
        return self.flat.tensors[tensor].shape

    def dtype_of(self, tensor: int) -> str:
        """The element type of `tensor` as numpy's name."""
        return self.flat.tensors[tensor].dtype

    def array(self, array: np.ndarray, name: str = "") -> int:
        """A constant tensor."""
        return self.flat.tensor(array.shape, str(array.dtype), name=name, data=array)

    def scalar(self, number: float, like: int) -> int:
        """A constant of rank 0 with the element type of tensor `like`."""
        return self.array(np.asarray(number, self.dtype_of(like)))

    def indices(self, numbers: Sequence[int] | int) -> int:
        """A constant of int32, as shapes, axes and paddings are given to builtins."""
        return self.array(np.asarray(numbers, np.int32))

    def op(
        self,
        builtin: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        table: str | None = None,
        *,
        dtype: str | None = None,
        **fields: Any,
    ) -> int:
        """Write a builtin with one output.

        Args:
            builtin: name in the schema.
            inputs: its operands.
            shape: stored shape of the result.
            table: its options table, None for a builtin that needs none.
            dtype: element type of the result, by default that of the data operand.
            **fields: fields of the options table.

        Returns:
            The tensor of the result.

        Raises:
            Decline: LiteRT's kernel does not run on the operands' element type.
        """
        return self.op_many(builtin, inputs, [shape], table, dtypes=[dtype], **fields)[0]

    def op_many(
        self,
        builtin: str,
        inputs: Sequence[int],
        shapes: Sequence[Sequence[int]],
        table: str | None = None,
        *,
        dtypes: Sequence[str | None] | None = None,
        **fields: Any,
    ) -> list[int]:
        """Write a builtin with any number of outputs; see `op`."""
        data = self.dtype_of(inputs[builtins.data_operand(builtin)])
        if data not in builtins.dtypes(builtin):
            accepted = ", ".join(builtins.dtypes(builtin))
            raise Decline(f"LiteRT's {builtin} does not run on {data}; it runs on {accepted or 'no plain type'}")
        operand_shapes = [self.shape_of(tensor) for tensor in inputs]
        version = builtins.version(
            builtin,
            data,
            [len(shape) for shape in operand_shapes],
            operands=len(inputs),
            broadcast=len(operand_shapes) > 1 and operand_shapes[0] != operand_shapes[1],
            options=fields,
        )
        fields.pop("groups", None)
        kinds = dtypes if dtypes is not None else [None] * len(shapes)
        outputs = [self.flat.tensor(shape, kind or data) for shape, kind in zip(shapes, kinds, strict=True)]
        made = options(table, **fields) if table else None
        self.flat.operator(Operator(builtin, version, tuple(inputs), tuple(outputs), made, self.origin))
        return outputs

    def unary(self, builtin: str, x: int, table: str | None = None, **fields: Any) -> int:
        """Write an elementwise builtin of one operand."""
        return self.op(builtin, [x], self.shape_of(x), table, **fields)

    def binary(self, builtin: str, a: int, b: int, *, dtype: str | None = None, activation: int = 0) -> int:
        """Write an elementwise builtin of two broadcasting operands."""
        return self.elementwise(builtin, [a, b], dtype=dtype, activation=activation)

    def elementwise(self, builtin: str, inputs: Sequence[int], *, dtype: str | None = None, activation: int = 0) -> int:
        """Write an elementwise builtin of broadcasting operands, over no more axes than its kernel handles.

        Raises:
            Decline: the broadcast needs more axes than LiteRT's kernels handle.
        """
        shapes = [self.shape_of(tensor) for tensor in inputs]
        whole = broadcast.result(shapes)
        if broadcast.needs_collapse(shapes):
            shapes = broadcast.collapse(shapes)
            if len(shapes[0]) > broadcast.MAXIMUM_RANK:
                raise Decline(f"broadcasting over {len(shapes[0])} axes; LiteRT handles {broadcast.MAXIMUM_RANK}")
            inputs = [self.reshape(tensor, shape) for tensor, shape in zip(inputs, shapes, strict=True)]
        table = _ACTIVATION_TABLES.get(builtin)
        fields = {"fusedActivationFunction": activation} if table else {}
        return self.reshape(self.op(builtin, inputs, broadcast.result(shapes), table, dtype=dtype, **fields), whole)

    def reshape(self, tensor: int, shape: Sequence[int]) -> int:
        """`tensor` with another shape; a RESHAPE of a RESHAPE reads the first one's source."""
        if self.flat.tensors[tensor].data is not None:
            return self.array(self.flat.tensors[tensor].data.reshape(tuple(shape)))  # type: ignore[union-attr]
        producer = self.flat.producers.get(tensor)
        if producer is not None and producer.builtin == "RESHAPE":
            tensor = producer.inputs[0]
        if self.shape_of(tensor) == tuple(shape):
            return tensor
        return self.copy(tensor, shape)

    def copy(self, tensor: int, shape: Sequence[int] | None = None) -> int:
        """A RESHAPE of `tensor`, also where the shape stays."""
        shape = self.shape_of(tensor) if shape is None else shape
        return self.op(
            "RESHAPE",
            [tensor, self.indices(list(shape))],
            shape,
            "ReshapeOptions",
            newShape=[int(dim) for dim in shape],
        )

    def transpose(self, tensor: int, perm: Sequence[int]) -> int:
        """`tensor` with its axes permuted: a TRANSPOSE, or a RESHAPE where only axes of length 1 move."""
        shape = tuple(self.shape_of(tensor)[axis] for axis in perm)
        if not layout.moves_data(self.shape_of(tensor), perm):
            return self.reshape(tensor, shape)
        return self.op("TRANSPOSE", [tensor, self.indices(list(perm))], shape, "TransposeOptions")

    def cast(self, tensor: int, dtype: str) -> int:
        """`tensor` with another element type."""
        if self.dtype_of(tensor) == dtype:
            return tensor
        return self.op("CAST", [tensor], self.shape_of(tensor), dtype=dtype)
