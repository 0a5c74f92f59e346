"""Put QuantizeLinear/DequantizeLinear around the operator of a probe, as a quantizer would (the QDQ form)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import onnx

    from graphopt.support.case import Quantization

_BIASED: Final = ("Conv", "ConvTranspose", "Gemm")
_PARAMETERS: Final = ("Clip", "Pad", "Resize", "Reshape")


def surround(proto: onnx.ModelProto, inputs: dict[str, np.ndarray], form: Quantization) -> bool:
    """Make the QDQ form of a one-operator float32 model, in place.

    Activations are quantized over the range they have here: unsigned dtypes asymmetrically, signed ones with zero
    point 0. A constant second input of a Conv, Gemm or MatMul is a weight, symmetric, stored quantized; the bias of a
    Conv or Gemm is int32 with the product of both scales (ONNX operator QLinearConv, input B), or stays in floating
    point. What the inputs of an operator share in meaning (Concat, pooling) is not forced to share a scale.

    Args:
        proto: the model; its outputs need no types.
        inputs: run-time inputs, float32 where they are to be quantized.
        form: what to quantize to.

    Returns:
        False where nothing can be quantized in it or the opset lacks the form.
    """
    from onnx import helper, numpy_helper

    from graphopt.support.probe import reference

    opset = proto.opset_import[0].version
    activation, weight, per_channel = form.activation, form.weight, form.per_channel
    wide = "16" in activation or "4" in weight
    answers = reference(proto, inputs)
    if answers is None or opset < (21 if wide else 13 if per_channel else 10):
        return False
    node = proto.graph.node[0]
    if not _quantizable(proto, form):
        return False
    axis: int | None
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    before: list[onnx.NodeProto] = []
    after: list[onnx.NodeProto] = []
    extra: list[onnx.TensorProto] = []
    scales: dict[int, np.ndarray] = {}

    def tensors(name: str, scale: np.ndarray, zero: np.ndarray) -> list[str]:
        extra.extend([numpy_helper.from_array(scale, f"{name}_s"), numpy_helper.from_array(zero, f"{name}_z")])
        return [f"{name}_s", f"{name}_z"]

    for index, name in enumerate(list(node.input)):
        if name in inputs and inputs[name].dtype == np.float32:
            scale, zero = _range(inputs[name], activation)
            scales[index] = scale
            parameters = tensors(name, scale, zero)
            before.append(helper.make_node("QuantizeLinear", [name, *parameters], [f"{name}_q"]))
            before.append(helper.make_node("DequantizeLinear", [f"{name}_q", *parameters], [f"{name}_d"]))
        elif name in constants and constants[name].dtype == np.float32 and node.op_type not in _PARAMETERS:
            if index == 2 and node.op_type in _BIASED:
                if form.bias == "float32":
                    continue
                scale, zero, dtype, axis = scales[0] * scales[1], np.zeros_like(scales[1], np.int32), "int32", 0
            else:
                axis = _channel_axis(node) if per_channel else None
                dtype = weight if node.op_type in (*_BIASED, "MatMul") else activation
                scale, zero = _weight_range(constants[name], dtype, axis)
                scales[index] = scale
            stored = _store(constants.pop(name), scale, zero, dtype, axis)
            extra.append(numpy_helper.from_array(stored, f"{name}_q"))
            more = {"axis": axis} if axis is not None and scale.ndim else {}
            parameters = tensors(name, scale, zero)
            before.append(helper.make_node("DequantizeLinear", [f"{name}_q", *parameters], [f"{name}_d"], **more))
        else:
            continue
        node.input[index] = f"{name}_d"
    if 0 not in scales:
        return False
    for index, name in enumerate(list(node.output)):
        if answers[name].dtype != np.float32:
            continue
        scale, zero = _range(answers[name], activation)
        parameters = tensors(name, scale, zero)
        node.output[index] = f"{name}_f"
        after.append(helper.make_node("QuantizeLinear", [f"{name}_f", *parameters], [f"{name}_q"]))
        after.append(helper.make_node("DequantizeLinear", [f"{name}_q", *parameters], [name]))
    middle = list(proto.graph.node)
    kept = [tensor for tensor in proto.graph.initializer if tensor.name in constants]
    del proto.graph.node[:]
    del proto.graph.initializer[:]
    proto.graph.node.extend([*before, *middle, *after])
    proto.graph.initializer.extend([*kept, *extra])
    return True


def pair(proto: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> None:
    """Put a DequantizeLinear after a QuantizeLinear, or a QuantizeLinear before a DequantizeLinear, in place.

    This is how they stand in models; alone they would have a quantized graph input or output, which few vendors take.

    Args:
        proto: a model whose one node is either; x1 and x2 are scale and zero point.
        inputs: its run-time inputs; x0 becomes float32 where it was quantized.
    """
    from onnx import TensorProto, helper

    node = proto.graph.node[0]
    names = list(node.input[1:])
    more = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if node.op_type == "QuantizeLinear":
        node.output[0] = "q"
        proto.graph.node.append(helper.make_node("DequantizeLinear", ["q", *names], ["y0"], domain=node.domain, **more))
        return
    node.input[0] = "q"
    proto.graph.node.insert(0, helper.make_node("QuantizeLinear", ["x0", *names], ["q"], domain=node.domain, **more))
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    inputs["x0"] = inputs["x0"].astype(np.float32)


def _quantizable(proto: onnx.ModelProto, form: Quantization) -> bool:
    """Whether weights and bias have a quantized form: a bias has one scale a channel, so it is a vector."""
    from onnx import helper

    node = proto.graph.node[0]
    if node.op_type not in _BIASED:
        return True
    ranks = {tensor.name: len(tensor.dims) for tensor in proto.graph.initializer}
    groups = next((helper.get_attribute_value(item) for item in node.attribute if item.name == "group"), 1)
    # a channel's weights are spread over the groups of a transposed convolution, so they share no axis
    spread = node.op_type == "ConvTranspose" and groups > 1 and form.per_channel
    return not spread and (len(node.input) < 3 or ranks.get(node.input[2], 1) == 1)


def _channel_axis(node: onnx.NodeProto) -> int:
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 0 if node.op_type == "Conv" or transposed else 1


def _range(array: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    info = np.iinfo(dtype)
    low, high = min(0.0, float(array.min(initial=0.0))), max(0.0, float(array.max(initial=0.0)))
    if info.min < 0:
        return np.float32(max(-low, high, 1e-6) / info.max), np.array(0, dtype)  # type: ignore[return-value]
    scale = max(high - low, 1e-6) / info.max
    return np.float32(scale), np.array(round(-low / scale), dtype)  # type: ignore[return-value]


def _weight_range(array: np.ndarray, dtype: str, axis: int | None) -> tuple[np.ndarray, np.ndarray]:
    if axis is None:
        return _range(array, dtype)
    others = tuple(other for other in range(array.ndim) if other != axis)
    scale = np.maximum(np.abs(array).max(axis=others), 1e-6).astype(np.float32) / np.iinfo(dtype).max
    return scale.astype(np.float32), np.zeros(scale.shape, dtype)


def _store(array: np.ndarray, scale: np.ndarray, zero: np.ndarray, dtype: str, axis: int | None) -> np.ndarray:
    info = np.iinfo(dtype)
    if np.ndim(scale):
        shape = [-1 if other == axis else 1 for other in range(array.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    stored: np.ndarray = np.clip(np.round(array / scale) + zero, info.min, info.max).astype(dtype)
    return stored
