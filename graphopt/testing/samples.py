"""Models that passes are tried on: generated ones, and small real ones that the onnx package ships."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx_ir as ir

from graphopt.ir import load
from graphopt.testing.sketch import Sketch

Fresh = Callable[[], ir.Model]

_REAL = (
    "simple/test_expand_shape_model1", "simple/test_sequence_model2", "simple/test_shrink", "simple/test_sign_model",
    "simple/test_strnorm_model_nostopwords_nochangecase", "pytorch-converted/test_Conv2d_depthwise",
    "pytorch-converted/test_Conv2d_groups", "pytorch-converted/test_ConvTranspose2d",
    "pytorch-converted/test_Embedding", "pytorch-converted/test_LogSoftmax", "pytorch-converted/test_MaxPool2d",
    "pytorch-converted/test_PixelShuffle", "pytorch-converted/test_ZeroPad2d",
    "pytorch-operator/test_operator_chunk", "pytorch-operator/test_operator_concat2",
    "pytorch-operator/test_operator_permute2", "pytorch-operator/test_operator_reduced_mean_keepdim",
    "pytorch-operator/test_operator_view",
)  # fmt: skip
_LIGHT = ("light_squeezenet",)


def samples(seeds: int = 2) -> Iterator[tuple[str, Fresh]]:
    """Names of models, each with what gives a fresh copy.

    Args:
        seeds: how many of each generated kind.
    """
    for draw in (_images, _sequence, _choice, _codes):
        for seed in range(seeds):
            yield f"{draw.__name__.strip('_')} {seed}", _generated(draw, seed)
    for name, file in _shipped():
        yield name, functools.partial(load, file)


def _generated(draw: Callable[[Sketch], None], seed: int) -> Fresh:
    def fresh() -> ir.Model:
        sketch = Sketch(random.Random(seed))
        draw(sketch)
        return load(sketch.model())

    return fresh


def _shipped() -> Iterator[tuple[str, Path]]:
    import onnx.backend.test

    data = Path(str(onnx.backend.test.__file__)).with_name("data")
    for name in _REAL:
        yield name.rpartition("/")[2], data / name / "model.onnx"
    for name in _LIGHT:
        yield name, data / "light" / f"{name}.onnx"


def _images(g: Sketch) -> None:
    """Layers on an image, with a residual connection, a second output and a value that nobody reads."""
    x, channels = g.layer(("Conv",))
    scale, bias, mean = (g.constant(g.normal(channels)) for _ in range(3))
    normal = g.BatchNormalization(x, scale, bias, mean, g.constant(g.positive(channels)))
    relu = g.Relu(normal)
    g.Neg(relu)
    g.output(g.Add(relu, g.Identity(normal)))
    g.output(g.GlobalAveragePool(relu))


def _sequence(g: Sketch) -> None:
    """Attention, written out, over a sequence of any length."""
    size = g.integer(1, 4)
    x = g.input(["batch", "time", size])
    q, k, v = (g.MatMul(x, g.constant(g.normal(size, size))) for _ in range(3))
    weights = g.Softmax(g.Div(g.MatMul(q, g.Transpose(k, perm=[0, 2, 1])), g.constant(2.0)), axis=-1)
    sums = g.Add(x, g.MatMul(weights, v))
    g.output(g.Reshape(sums, g.Concat(g.Shape(sums, end=2), g.constant([size]), axis=0)))


def _choice(g: Sketch) -> None:
    """An If whose branches read what is around them."""
    import onnx

    shape = g.shape(least=1)
    x = g.input(shape, static=True)
    doubled = g.Add(x, x)

    def branch(op_type: str) -> onnx.GraphProto:
        info = onnx.helper.make_tensor_value_info(f"{op_type}_out", g.FLOAT, shape)
        return onnx.helper.make_graph([onnx.helper.make_node(op_type, [doubled], [info.name])], op_type, [], [info])

    g.output(g.If(g.input([], g.BOOL), then_branch=branch("Neg"), else_branch=branch("Abs")), rank=len(shape))


def _codes(g: Sketch) -> None:
    """A quantized layer between QuantizeLinear and DequantizeLinear."""
    import numpy as np

    a, b = g.integer(1, 4), g.integer(1, 4)
    scale, zero = g.constant(0.125), g.constant(np.array(3, np.int8))
    codes = g.QuantizeLinear(g.input([g.integer(1, 3), a]), scale, zero)
    weight = g.constant(np.arange(a * b, dtype=np.int8).reshape(a, b))
    product = g.MatMul(
        g.DequantizeLinear(codes, scale, zero), g.DequantizeLinear(weight, scale, g.constant(np.array(0, np.int8)))
    )
    g.output(g.Relu(product))
