"""The emitter: where each ONNX value lives in the file. A lowering reads operands in the layout that it wants, writes
builtins on tensors, and says in which layout the result is stored. A value is converted to another layout only when
somebody reads it so, and once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from graphopt_backends.tflite import layout
from graphopt_backends.tflite.flatbuffer import Graph
from graphopt_backends.tflite.layout import Layout
from graphopt_backends.tflite.registry import Decline
from graphopt_backends.tflite.scheme import Quantization
from graphopt_backends.tflite.writer import Writer


class Emitter(Writer):
    """Lowerings' view of the model that is being written.

    Attributes:
        opset: version of ONNX's own operator set.
        hybrid: whether kernels may quantize what they multiply with int8 weights.
        done: nodes that were fused into an earlier one.
        taken: nodes that the node being lowered fuses; they are done when it is.
        broken: values of which nothing is known, because the node that makes them was declined.
        schemes: what the codes in a value stand for, its axis counted in ONNX's order.
        codes: for a dequantized value, the value that holds its codes.
        wishes: the layout that the readers of a value would like, where they care.
        held: for codes, the value that holds them for LiteRT, and what the model says of them.
    """

    def __init__(
        self,
        opset: int,
        graph: Graph | None = None,
        *,
        hybrid: bool = False,
        wishes: Mapping[ir.Value, Layout] = MappingProxyType({}),
    ) -> None:
        super().__init__(graph or Graph())
        self.opset, self.hybrid, self.wishes = opset, hybrid, wishes
        self.done: set[ir.Node] = set()
        self.taken: list[ir.Node] = []
        self.broken: set[ir.Value] = set()
        self.schemes: dict[ir.Value, Quantization] = {}
        self.codes: dict[ir.Value, ir.Value] = {}
        self.held: dict[ir.Value, tuple[ir.Value, Quantization]] = {}
        self._homes: dict[ir.Value, dict[Layout, int]] = {}
        self._folded: dict[ir.Value, np.ndarray] = {}
        self._made: dict[ir.Value, tuple[tuple[int, ...], str]] = {}

    def nested(self, graph: Graph) -> Emitter:
        """An emitter for a graph inside of this one: it knows the same constants, and holds nothing yet."""
        inner = Emitter(self.opset, graph, hybrid=self.hybrid)
        inner.origin, inner.broken = self.origin, self.broken
        inner.schemes, inner._folded, inner._made = self.schemes, self._folded, self._made
        inner.codes = {value: holder for value, holder in self.codes.items() if self.is_constant(value)}
        return inner

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

    def is_constant(self, value: ir.Value) -> bool:
        """Whether `value` is known while compiling."""
        held = self.codes.get(value, value)
        return held in self._folded or ir.convenience.get_const_tensor(held) is not None

    def constant(self, value: ir.Value) -> np.ndarray | None:
        """The array of `value` where it is known while compiling."""
        if value in self._folded:
            return self._folded[value]
        if value in self.codes:
            codes = self.constant(self.codes[value])
            return None if codes is None else self._decoded(self.codes[value], codes)
        tensor = ir.convenience.get_const_tensor(value)
        return None if tensor is None else tensor.numpy()

    def _decoded(self, holder: ir.Value, codes: np.ndarray) -> np.ndarray:
        scheme = self.schemes.get(holder)
        return codes.astype(np.float32) if scheme is None else scheme.decode(codes)

    def fold(self, value: ir.Value, array: np.ndarray) -> None:
        """Make `value` a constant of the file."""
        self._folded[value] = array

    def fold_moved(
        self,
        value: ir.Value,
        source: ir.Value,
        move: Callable[[np.ndarray], np.ndarray],
        moved: Callable[[Quantization], Quantization | None],
    ) -> bool:
        """Make `value` a constant where `source` is one: its codes where it has codes, else its numbers.

        Args:
            value: the result.
            source: what is moved.
            move: what happens to the elements.
            moved: what happens to the axis of a scale; None where it does not survive.

        Returns:
            Whether `source` is a constant.
        """
        if not self.is_constant(source):
            return False
        held = self.codes.get(source)
        scheme = None if held is None else self.schemes.get(held)
        after = None if scheme is None else moved(scheme)
        array = self.constant(source if held is None or (scheme is not None and after is None) else held)
        holder = value
        if held is not None and (scheme is None or after is not None):
            holder = self.codes[value] = ir.Value(name=value.name)
        if after is not None:
            self.schemes[holder] = after
        self.fold(holder, move(array))  # type: ignore[arg-type]
        return True

    # Values and where they live

    def layouts(self, value: ir.Value) -> Sequence[Layout]:
        """The layouts in which `value` is stored so far, its producer's first; empty for a constant."""
        held = self.codes.get(value)
        return tuple(self._homes.get(value, ()) if held is None else self._homes.get(held, ()))

    def layout(self, value: ir.Value) -> Layout:
        """The layout that the producer of `value` made."""
        return next(iter(self.layouts(value)), layout.identity(self.rank(value)))

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
        for where in list(self.layouts(source)):
            self._homes.setdefault(value, {})[change(where)] = self.read(source, where)

    def homes(self, value: ir.Value) -> Sequence[int]:
        """The tensors that hold `value` so far."""
        return tuple(self._homes.get(value, {}).values())

    def read(self, value: ir.Value, wanted: Layout | None = None) -> int:
        """The tensor that holds `value` in the layout `wanted` (ONNX's own by default), written if there is none."""
        where = layout.identity(self.rank(value)) if wanted is None else wanted
        homes = self._homes.setdefault(value, {})
        if where not in homes:
            homes[where] = self._make(value, homes, where)
        return homes[where]

    def _make(self, value: ir.Value, homes: dict[Layout, int], where: Layout) -> int:
        if value in self.codes:
            return self.dequantize(self.read(self.codes[value], where))
        array = self.constant(value)
        if array is not None:
            scheme = self.schemes.get(value)
            return self.array(np.transpose(array, where), value.name or "", scheme and scheme.along(where))
        if homes:
            return self._convert(value, homes, where)
        raise Decline(f"{value.name!r} was not written: the node that makes it has no lowering")

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
            return self.array(array.reshape(array.shape[leading:]), value.name or "", self._one_scheme(value))
        if len(shape) == len(where):
            return self.read(value, where)
        tensor = self.reshape(self.read(value), lifted)
        return self.transpose(tensor, where)

    def _one_scheme(self, value: ir.Value) -> Quantization | None:
        scheme = self.schemes.get(value)
        if scheme is not None and scheme.axis is not None:
            raise Decline(f"{value.name!r} has a scale for each index of an axis, which LiteRT takes for weights only")
        return scheme

    def weights(self, value: ir.Value, wanted: Layout) -> int:
        """The tensor of weights for a kernel that has a hybrid form: in int8 where that is asked for, else as read."""
        holder = self.codes.get(value)
        scheme = None if holder is None else self.schemes.get(holder)
        symmetric = scheme is not None and scheme.dtype == "int8" and scheme.symmetric
        kept = self.hybrid and symmetric and self.is_constant(value)
        return self.read(holder if kept and holder is not None else value, wanted)

    def bias(self, value: ir.Value | None, x: int, weights: int, channels: int, factor: float = 1.0) -> int:
        """The tensor of [channels] that the product of `x` and `weights` is added to: `factor`·`value`, 0 for None."""
        array = np.zeros(channels, np.float32) if value is None else self.constant(value)
        if array is not None:
            return self.array((array.reshape(channels) * np.float32(factor)).astype(array.dtype))
        tensor = self.reshape(self.read(value), (channels,))  # type: ignore[arg-type]
        return tensor if factor == 1.0 else self.binary("MUL", tensor, self.scalar(factor, tensor))
