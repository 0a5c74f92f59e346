"""An operator between DequantizeLinear and QuantizeLinear, written as one of LiteRT's integer kernels.

    codes ─ DequantizeLinear ─ MaxPool ─ QuantizeLinear ─ codes      becomes      codes ─ MAX_POOL_2D ─ codes

The lowering of the operator is the one that float32 goes through: only the emitter differs. It reads codes where the
lowering reads numbers, and refuses what an integer kernel would compute otherwise than the model says. Then the
operator stays in float32, between a DEQUANTIZE and a QUANTIZE.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from graphopt_backends.tflite.activation import sole_user
from graphopt_backends.tflite.builtins import data_operand
from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.layout import Layout, identity
from graphopt_backends.tflite.onnx_node import is_used
from graphopt_backends.tflite.qdq import COARSER, alike, only_read_back, quantizer, runs, stated, store
from graphopt_backends.tflite.registry import Decline, Lowering
from graphopt_backends.tflite.rules import FIXED, RULES, WEIGHTED
from graphopt_backends.tflite.scheme import Quantization

_FUSED = ("Add", "Clip", "Relu")  # what a lowering may take over before the QuantizeLinear
_CODES = ("int4", "int8", "int16")
_BIASES = {"int8": "int32", "int16": "int64"}
_FINER = 0.99  # rounding to codes this much coarser than the wanted ones costs nothing that can be measured


def lower_integer(node: ir.Node, lowering: Lowering, e: Emitter) -> bool:
    """Write `node` with integer kernels where the model wants codes of it; whether that could be done.

    An operator that only moves elements moves codes, whether the model wants codes of it or numbers.
    """
    if not any(value in e.codes for value in node.inputs if value is not None):
        return False
    targets = [_target(node.outputs[index], e) for index in range(len(node.outputs)) if is_used(node, index)]
    if not targets:
        return False
    try:
        lowering(node, MovingEmitter(e) if None in targets else IntegerEmitter(e, *targets[0]))  # type: ignore[misc]
    except Decline:
        e.taken.clear()
        return False
    return True


def _target(value: ir.Value, e: Emitter) -> tuple[Quantization, bool] | None:
    """What the codes of `value` stand for, after whatever the operator may fuse, and whether that may change a bit."""
    for _ in range(3):
        found = quantizer(value)
        if found is not None:
            said = stated(found, e)
            if said is None or not runs(said.signed()[0]):
                return None
            return said.signed()[0], only_read_back(found.outputs[0], said, e)
        user = sole_user(value)
        if user is None or user.op_type not in _FUSED or user.domain:
            return None
        value = user.outputs[0]
    return None


class IntegerEmitter(Emitter):
    """An emitter of codes, for one node; it writes on the graph of another emitter and knows what that knows.

    Args:
        base: the emitter of the graph.
        target: what the codes of the node's result stand for.
        lenient: whether they may also stand in a range that is nearly the same.
    """

    def __init__(self, base: Emitter, target: Quantization | None, lenient: bool) -> None:
        vars(self).update(vars(base))
        self._target, self._lenient, self._rounded = target, lenient, False
        self._numbers: dict[int, float] = {}

    def read(self, value: ir.Value, wanted: Layout | None = None) -> int:
        """The tensor that holds the codes of `value`."""
        return super().read(self._codes(value), wanted)

    def weights(self, value: ir.Value, wanted: Layout) -> int:
        """The tensor that holds the codes of weights."""
        return self.read(value, wanted)

    def broadcastable(self, value: ir.Value, where: Layout) -> int:
        """The tensor of the codes of `value` for broadcasting."""
        return super().broadcastable(self._codes(value), where)

    def _codes(self, value: ir.Value) -> ir.Value:
        if value in self.codes:
            return self.codes[value]
        if value.dtype == ir.DataType.FLOAT:
            raise Decline(f"{value.name!r} is not quantized")
        return value

    def array(self, array: np.ndarray, name: str = "", quantization: Quantization | None = None) -> int:
        """A constant tensor of whole numbers."""
        if array.dtype.kind == "f":
            raise Decline("a constant is not quantized")
        return super().array(array, name, quantization)

    def scalar(self, number: float, like: int) -> int:
        """A constant in the codes of tensor `like`."""
        tensor = super().scalar(number, like)
        self._numbers[tensor] = number
        return tensor

    def quantize(self, tensor: int, scheme: Quantization) -> int:
        """The codes of `tensor` under `scheme`; a scalar is not rounded twice."""
        if tensor in self._numbers:
            return self.array(scheme.encode(np.asarray(self._numbers[tensor], np.float32)), quantization=scheme)
        return super().quantize(tensor, scheme)

    def write(self, value: ir.Value, tensor: int, stored_as: Layout | None = None) -> None:
        """Say that `tensor` holds the codes of `value`, as the QuantizeLinear after it wants them."""
        found = quantizer(value)
        said = None if found is None else stated(found, self)
        if found is None or said is None:
            raise Decline(f"{value.name!r} is not quantized")
        where = identity(len(self.shape_of(tensor))) if stored_as is None else stored_as
        store(self, found.outputs[0], said, tensor, where)
        self.taken.append(found)

    def alias(self, value: ir.Value, source: ir.Value, change: Callable[[Layout], Layout]) -> None:
        """Say that the codes of `value` are stored wherever those of `source` are."""
        for where in self.layouts(source):
            self.write(value, self.read(source, where), change(where))

    def admit(self, builtin: str, inputs: Sequence[int]) -> tuple[Sequence[int], Quantization | None]:
        """The operands as the integer kernel wants them, and what the codes of the result stand for."""
        scheme, rule = self.quantization_of(inputs[data_operand(builtin)]), RULES.get(builtin)
        if scheme is None:
            return super().admit(builtin, inputs)
        if rule is None or scheme.dtype not in rule.dtypes:
            raise Decline(f"LiteRT's {builtin} has no kernel for codes of {scheme.dtype}")
        if scheme.axis is not None:
            raise Decline("activations have one scale")
        if rule.kind == "moves":
            return inputs, scheme
        target = self._wanted()
        match rule.kind:
            case "joins":
                return self._join(inputs, scheme, target)
            case "averages":
                made = scheme
            case "fixed":
                made = FIXED[builtin, scheme.dtype]
            case _:
                made = target
                self._check(builtin, inputs, scheme)
        self._round(made, target)
        return inputs, made

    def _join(
        self, inputs: Sequence[int], scheme: Quantization, target: Quantization
    ) -> tuple[Sequence[int], Quantization]:
        schemes = [self.quantization_of(tensor) for tensor in inputs]
        if {scheme} >= set(schemes) - {None} and self._numbers.keys().isdisjoint(inputs):
            return inputs, scheme
        joined = [
            tensor if one is None else self.quantize(tensor, target)
            for tensor, one in zip(inputs, schemes, strict=True)
        ]
        return joined, target

    def _wanted(self) -> Quantization:
        if self._target is None:
            raise Decline("the model wants numbers of it, and not codes")
        return self._target

    def _round(self, made: Quantization, target: Quantization) -> None:
        if self._rounded:
            raise Decline("it takes more than one builtin, which would round to codes in between")
        least = COARSER if self._lenient and alike(made, target) else _FINER
        if made.dtype != target.dtype or target.scale[0] < least * made.scale[0]:
            raise Decline("the kernel's codes are coarser than the wanted ones")
        self._rounded = True

    def _check(self, builtin: str, inputs: Sequence[int], data: Quantization) -> None:
        schemes = [self.quantization_of(tensor) for tensor in inputs[:3] if self.dtype_of(tensor).startswith("int")]
        others = [scheme for scheme in schemes if scheme is not None and scheme is not data and scheme.dtype in _CODES]
        if builtin not in WEIGHTED:
            if any(one.axis is not None or one.dtype != data.dtype for one in others):
                raise Decline(f"LiteRT's {builtin} takes one scale an operand, and codes of one type")
        elif any(not one.symmetric or one.dtype == "int16" for one in others):
            raise Decline(f"LiteRT's {builtin} takes weights of zero point 0")

    def bias(self, value: ir.Value | None, x: int, weights: int, channels: int, factor: float = 1.0) -> int:
        """The bias in whole multiples of the product of both scales, as the kernels add it to their sums."""
        data, kernel = self.quantization_of(x), self.quantization_of(weights)
        if data is None or kernel is None:
            raise Decline("the weights are not quantized")
        numbers = np.zeros(channels, np.float32) if value is None else self.constant(value)
        if numbers is None:
            raise Decline("the bias is computed at run time")
        scale = np.float32(data.scale[0]) * np.asarray(kernel.scale, np.float32)
        codes, dtype = np.rint(factor * numbers.reshape(channels).astype(np.float64) / scale), _BIASES[data.dtype]
        if np.abs(codes).max(initial=0) > np.iinfo(np.int32).max:
            raise Decline("the bias is too large for the scales of data and weights")
        scheme = Quantization(
            dtype, tuple(float(one) for one in scale), (0,) * scale.size, None if kernel.axis is None else 0
        )
        return self.array(codes.astype(dtype), "" if value is None else value.name or "", scheme)


class MovingEmitter(IntegerEmitter):
    """An emitter of codes for a node of which the model wants numbers: it only moves them.

    Args:
        base: the emitter of the graph.
    """

    def __init__(self, base: Emitter) -> None:
        super().__init__(base, None, False)

    def write(self, value: ir.Value, tensor: int, stored_as: Layout | None = None) -> None:
        """Say that `tensor` holds the codes of `value`."""
        scheme = self.quantization_of(tensor)
        if scheme is None:
            return Emitter.write(self, value, tensor, stored_as)
        holder = self.codes.get(value)
        if holder is None or self.schemes[holder] != scheme:
            holder = ir.Value(name=value.name, shape=value.shape)
        Emitter.write(self, holder, tensor, stored_as)
        self.schemes[holder], self.codes[value] = scheme, holder
        return None
