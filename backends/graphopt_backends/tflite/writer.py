"""The verbs that lowerings write with: tensors and builtins of one graph of the file, and nothing of ONNX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphopt_backends.tflite import broadcast, builtins, layout
from graphopt_backends.tflite.flatbuffer import Graph, Operator, options
from graphopt_backends.tflite.registry import Decline
from graphopt_backends.tflite.rules import RULES
from graphopt_backends.tflite.scheme import Quantization
from graphopt_backends.tflite.versions import Use, version

_ACTIVATION_TABLES = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions", "DIV": "DivOptions"}


class Writer:
    """Writes one graph.

    Attributes:
        flat: the graph under construction.
        origin: name of the ONNX node that is being lowered.
    """

    def __init__(self, graph: Graph) -> None:
        self.flat, self.origin = graph, ""

    def shape_of(self, tensor: int) -> tuple[int, ...]:
        """The stored shape of `tensor`."""
        return self.flat.tensors[tensor].shape

    def dtype_of(self, tensor: int) -> str:
        """The element type of `tensor` as numpy's name."""
        return self.flat.tensors[tensor].dtype

    def quantization_of(self, tensor: int) -> Quantization | None:
        """What the codes in `tensor` stand for."""
        return self.flat.tensors[tensor].quantization

    def array(self, array: np.ndarray, name: str = "", quantization: Quantization | None = None) -> int:
        """A constant tensor."""
        return self.flat.tensor(array.shape, str(array.dtype), name=name, data=array, quantization=quantization)

    def scalar(self, number: float, like: int) -> int:
        """A constant of rank 0 with the element type of tensor `like`, and of its scale where that holds codes."""
        scheme = self.quantization_of(like)
        if scheme is not None:
            return self.array(scheme.encode(np.asarray(number, np.float32)), quantization=scheme)
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
        inputs, scheme = self.admit(builtin, inputs)
        data = self.dtype_of(inputs[builtins.data_operand(builtin)])
        kinds = [kind or data for kind in dtypes] if dtypes is not None else [data] * len(shapes)
        outputs = [
            self.flat.tensor(shape, kind, quantization=scheme if kind == data else None)
            for shape, kind in zip(shapes, kinds, strict=True)
        ]
        return self.emit(builtin, inputs, outputs, table, **fields)

    def admit(self, builtin: str, inputs: Sequence[int]) -> tuple[Sequence[int], Quantization | None]:
        """The operands as the kernel wants them, and what codes in the result stand for.

        Raises:
            Decline: LiteRT's kernel does not run on the operands' element type.
        """
        operand = inputs[builtins.data_operand(builtin)]
        data, scheme = self.dtype_of(operand), self.quantization_of(operand)
        if scheme is not None and builtin != "CAST":
            rule = RULES.get(builtin)
            if rule is None or rule.kind != "moves":
                raise Decline(f"LiteRT's {builtin} does not compute on the codes of QuantizeLinear as they are")
            return inputs, scheme
        if data not in builtins.dtypes(builtin):
            accepted = ", ".join(builtins.dtypes(builtin))
            raise Decline(f"LiteRT's {builtin} does not run on {data}; it runs on {accepted or 'no plain type'}")
        return inputs, None

    def emit(
        self,
        builtin: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        table: str | None = None,
        *,
        graphs: Mapping[str, Graph] | None = None,
        **fields: Any,
    ) -> list[int]:
        """Write a builtin on tensors that are there already, unasked; the tensors of its results."""
        chosen = version(builtin, self._use(builtin, inputs, outputs, fields))
        fields.pop("groups", None)
        made = options(table, **fields) if table else None
        self.flat.operator(
            Operator(builtin, chosen, tuple(inputs), tuple(outputs), made, self.origin, dict(graphs or {}))
        )
        return list(outputs)

    def _use(self, builtin: str, inputs: Sequence[int], outputs: Sequence[int], fields: Mapping[str, Any]) -> Use:
        tensors = [self.flat.tensors[tensor] for tensor in inputs if tensor >= 0]
        position = builtins.data_operand(builtin)
        data = tensors[position] if position < len(tensors) else None
        made = self.flat.tensors[outputs[0]]
        schemes = [tensor.quantization for tensor in tensors[:2]]
        rescale = 0.0
        if made.quantization is not None and len(schemes) == 2 and None not in schemes:
            rescale = schemes[0].scale[0] * schemes[1].scale[0] / made.quantization.scale[0]  # type: ignore[union-attr]
        return Use(
            dtype=data.dtype if data is not None else "",
            rank=max((len(tensor.shape) for tensor in tensors), default=0),
            operands=len(inputs),
            weights=tensors[1].dtype if len(tensors) > 1 else "",
            made=made.dtype,
            quantized=data is not None and data.quantization is not None,
            per_axis=any(scheme is not None and scheme.axis is not None for scheme in (*schemes, made.quantization)),
            broadcast=len(tensors) > 1 and tensors[0].shape != tensors[1].shape,
            rescale=rescale,
            options=fields,
        )

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
        if builtin in ("ADD", "SUB"):
            # Scales of int16 codes need not be powers of two, which is what the schema's default promises.
            fields["potScaleInt16"] = self.dtype_of(inputs[0]) != "int16"
        return self.reshape(self.op(builtin, inputs, broadcast.result(shapes), table, dtype=dtype, **fields), whole)

    def reshape(self, tensor: int, shape: Sequence[int]) -> int:
        """`tensor` with another shape; a RESHAPE of a RESHAPE reads the first one's source."""
        source = self.flat.tensors[tensor]
        if source.data is not None:
            scheme = source.quantization
            if scheme is not None:
                scheme = scheme.reshaped(source.shape, shape)
                if scheme is None:
                    raise Decline("a reshape breaks up the axis along which a constant is quantized")
            return self.array(source.data.reshape(tuple(shape)), quantization=scheme)
        producer = self.flat.producers.get(tensor)
        if producer is not None and producer.builtin == "DEQUANTIZE":
            codes = producer.inputs[0]
            if self.flat.tensors[codes].data is not None:
                return self.dequantize(self.reshape(codes, shape))
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

    # Codes and the numbers that they stand for

    def quantize(self, tensor: int, scheme: Quantization) -> int:
        """The codes of `tensor` under `scheme`: a QUANTIZE of numbers or of other codes."""
        source = self.flat.tensors[tensor]
        if source.quantization == scheme:
            return tensor
        if source.data is not None and source.quantization is not None:
            return self.array(scheme.encode(source.quantization.decode(source.data)), quantization=scheme)
        made = self.flat.tensor(source.shape, scheme.dtype, quantization=scheme)
        return self.emit("QUANTIZE", [tensor], [made])[0]

    def dequantize(self, tensor: int) -> int:
        """The numbers (float32) that the codes, or the float16 constants, in `tensor` stand for."""
        made = self.flat.tensor(self.shape_of(tensor), "float32")
        return self.emit("DEQUANTIZE", [tensor], [made])[0]
