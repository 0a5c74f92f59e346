"""Small networks of many families: what exporters write of them, with as few nodes as show the couplings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from channel_networks import Net

R = np.random.Generator
FAMILIES: dict[str, Callable[[R], ir.Model]] = {}


def family(build: Callable[[R], ir.Model]) -> Callable[[R], ir.Model]:
    """Register a network."""
    FAMILIES[build.__name__] = build
    return build


def _norm(g: Net, x: str, width: int) -> str:
    return str(g("LayerNormalization", x, g.positive(width), g.weight(width)))


def _heads(g: Net, x: str, heads: int, size: int, turn: tuple[int, ...] = (0, 2, 1, 3)) -> str:
    return str(g("Transpose", g("Reshape", x, g.constant([0, -1, heads, size])), perm=list(turn)))


def _attend(g: Net, q: str, k: str, v: str, size: int, width: int) -> str:
    """Scaled dot products of heads (batch, heads, tokens, size), merged again."""
    scores = g("Mul", g("MatMul", q, k), g.constant(np.float32(size**-0.5)))
    mixed = g("MatMul", g("Softmax", scores, axis=-1), v)
    return str(g("Reshape", g("Transpose", mixed, perm=[0, 2, 1, 3]), g.constant([0, -1, width])))


def _attention(g: Net, x: str, memory: str, width: int, heads: int) -> str:
    size = width // heads
    q = _heads(g, g.linear(x, width, width), heads, size)
    k = _heads(g, g.linear(memory, width, width), heads, size, (0, 2, 3, 1))
    v = _heads(g, g.linear(memory, width, width), heads, size)
    return g.linear(_attend(g, q, k, v, size, width), width, width)


def _feed_forward(g: Net, x: str, width: int, inside: int) -> str:
    return g.linear(g("Gelu", g.linear(x, width, inside)), inside, width)


@family
def vision_transformer(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 8, 8)
    patches = g("Conv", "x", g.weight(16, 3, 4, 4), g.weight(16), strides=[4, 4])
    x = g("Transpose", g("Reshape", patches, g.constant([1, 16, -1])), perm=[0, 2, 1])
    x = g("Add", g("Concat", g.weight(1, 1, 16), x, axis=1), g.weight(1, 5, 16))
    for _ in range(2):
        normed = _norm(g, x, 16)
        x = g("Add", x, _attention(g, normed, normed, 16, 4))
        x = g("Add", x, _feed_forward(g, _norm(g, x, 16), 16, 32))
    first = g("Gather", _norm(g, x, 16), g.constant(np.int64(0)), axis=1)
    return g.model(g("Gemm", first, g.weight(5, 16), g.weight(5), transB=1))


@family
def shifted_windows(rng: R) -> ir.Model:
    g = Net(rng, 1, 8, 8, 6)
    x = g.linear("x", 6, 16)
    for shift in (0, 2):
        y = _norm(g, x, 16)
        if shift:
            for axis in (1, 2):
                cut = [g("Slice", y, *map(g.constant, ([a], [b], [axis]))) for a, b in ((2, 8), (0, 2))]
                y = g("Concat", *cut, axis=axis)
        y = g("Transpose", g("Reshape", y, g.constant([1, 2, 4, 2, 4, 16])), perm=[0, 1, 3, 2, 4, 5])
        y = g("Reshape", y, g.constant([4, 16, 16]))
        joined = g("Reshape", g.linear(y, 16, 48), g.constant([4, 16, 3, 4, 4]))
        parts = g("Split", g("Transpose", joined, perm=[2, 0, 3, 1, 4]), outs=3, axis=0, num_outputs=3)
        q, k, v = (g("Squeeze", one, g.constant([0])) for one in parts)
        scores = g("Add", g("MatMul", q, g("Transpose", k, perm=[0, 1, 3, 2])), g.weight(1, 4, 16, 16))
        mixed = g("Transpose", g("MatMul", g("Softmax", scores), v), perm=[0, 2, 1, 3])
        y = g.linear(g("Reshape", mixed, g.constant([4, 16, 16])), 16, 16)
        y = g("Transpose", g("Reshape", y, g.constant([1, 2, 2, 4, 4, 16])), perm=[0, 1, 3, 2, 4, 5])
        x = g("Add", x, g("Reshape", y, g.constant([1, 8, 8, 16])))
        x = g("Add", x, _feed_forward(g, _norm(g, x, 16), 16, 32))
    return g.model(g.linear(g("ReduceMean", x, g.constant([1, 2]), keepdims=0), 16, 3))


@family
def decoder_of_grouped_queries(rng: R) -> ir.Model:
    g = Net(rng, 1, 5, 16)
    x = "x"
    for _ in range(2):
        y = g("Mul", g("Div", x, g("Sqrt", g("ReduceMean", g("Mul", x, x), g.constant([-1])))), g.weight(16))
        q = _heads(g, g("MatMul", y, g.weight(16, 16)), 4, 4)
        k, v = (_heads(g, g("MatMul", y, g.weight(16, 8)), 2, 4) for _ in range(2))
        halves = g("Split", q, outs=2, axis=-1, num_outputs=2)
        turned = g("Concat", g("Neg", halves[1]), halves[0], axis=-1)
        q = g("Add", g("Mul", q, g.weight(1, 1, 5, 4)), g("Mul", turned, g.weight(1, 1, 5, 4)))
        k, v = (_repeated(g, one) for one in (k, v))
        mixed = _attend(g, q, g("Transpose", k, perm=[0, 1, 3, 2]), v, 4, 16)
        x = g("Add", x, g("MatMul", mixed, g.weight(16, 16)))
        gate = g("MatMul", x, g.weight(16, 24))
        gated = g("Mul", g("Mul", gate, g("Sigmoid", gate)), g("MatMul", x, g.weight(16, 24)))
        x = g("Add", x, g("MatMul", gated, g.weight(24, 16)))
    return g.model(g("MatMul", x, g.weight(16, 11)))


def _repeated(g: Net, x: str) -> str:
    """Two key heads for four query heads."""
    wide = g("Expand", g("Unsqueeze", x, g.constant([2])), g.constant([1, 2, 2, 5, 4]))
    return str(g("Reshape", wide, g.constant([1, 4, 5, 4])))


@family
def encoder_and_decoder_with_tied_words(rng: R) -> ir.Model:
    g = Net(rng, 1, 6, 7)
    memory = g("Transpose", g("Relu", g("Conv", "x", g.weight(12, 6, 3), g.weight(12), pads=[1, 1])), perm=[0, 2, 1])
    words = g.weight(20, 12)
    x = g("Add", g("Gather", words, g.constant(np.array([[3, 1, 4]]))), g.weight(3, 12))
    normed = _norm(g, x, 12)
    x = g("Add", x, _attention(g, normed, normed, 12, 3))
    x = g("Add", x, _attention(g, _norm(g, x, 12), memory, 12, 3))
    x = g("Add", x, _feed_forward(g, _norm(g, x, 12), 12, 24))
    return g.model(g("MatMul", _norm(g, x, 12), g("Transpose", words, perm=[1, 0])))


@family
def convnext(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 8, 8)
    x = g.conv("x", 3, 12)
    for _ in range(2):
        y = g("Transpose", g.conv(x, 12, 12, 3, group=12), perm=[0, 2, 3, 1])
        y = g("Mul", _feed_forward(g, _norm(g, y, 12), 12, 24), g.weight(12))
        x = g("Add", x, g("Transpose", y, perm=[0, 3, 1, 2]))
    return g.model(g("Gemm", g("Flatten", g("GlobalAveragePool", x)), g.weight(12, 4)))


@family
def shuffle_net(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 8, 8)
    x = g("Relu", g.conv("x", 3, 16))
    for _ in range(2):
        left, right = g("Split", x, outs=2, axis=1, num_outputs=2)
        right = g("Relu", g.conv(g.conv(g("Relu", g.conv(right, 8, 8)), 8, 8, 3, group=8), 8, 8))
        x = g("Reshape", g("Concat", left, right, axis=1), g.constant([1, 2, 8, 8, 8]))
        x = g("Reshape", g("Transpose", x, perm=[0, 2, 1, 3, 4]), g.constant([1, 16, 8, 8]))
    return g.model(g.conv(x, 16, 4))


@family
def dense_net(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 8, 8)
    x, width = g.conv("x", 3, 8), 8
    for _ in range(3):
        y = g("BatchNormalization", x, *(g.positive(width) for _ in range(4)))
        x, width = g("Concat", x, g.conv(g("Relu", g.conv(g("Relu", y), width, 12)), 12, 6, 3), axis=1), width + 6
    pooled = g("AveragePool", g.conv(x, width, 12), kernel_shape=[8, 8])
    return g.model(g("Gemm", g("Flatten", pooled), g.weight(12, 3)))


@family
def mobile_net_v3(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 8, 8)
    x = g("HardSwish", g.conv("x", 3, 8, 3))
    for _ in range(2):
        y = g("HardSwish", g.conv(g("HardSwish", g.conv(x, 8, 24)), 24, 24, 3, group=24))
        gate = g("Relu", g.conv(g("GlobalAveragePool", y), 24, 6))
        x = g("Add", x, g.conv(g("Mul", y, g("HardSigmoid", g.conv(gate, 6, 24))), 24, 8))
    flat = g("Reshape", g("GlobalAveragePool", x), g.constant([0, -1]))
    return g.model(g("Gemm", g("HardSwish", g("Gemm", flat, g.weight(8, 16))), g.weight(16, 5), g.weight(5)))


@family
def unet(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 8, 8)
    top = g("Relu", g.conv("x", 3, 8, 3))
    low = g("Relu", g.conv(g("MaxPool", top, kernel_shape=[2, 2], strides=[2, 2]), 8, 16, 3))
    up = g("ConvTranspose", low, g.weight(16, 8, 2, 2), g.weight(8), strides=[2, 2])
    wide = g("Resize", low, "", g.constant(np.array([1, 1, 2, 2], np.float32)))
    joined = g("Concat", top, up, wide, axis=1)
    return g.model(g.conv(g("Relu", g.conv(joined, 32, 8, 3)), 8, 2))


@family
def mixer(rng: R) -> ir.Model:
    g = Net(rng, 1, 6, 5)
    x = g.linear("x", 5, 12)
    for _ in range(2):
        y = g("Transpose", _norm(g, x, 12), perm=[0, 2, 1])
        x = g("Add", x, g("Transpose", _feed_forward(g, y, 6, 10), perm=[0, 2, 1]))
        x = g("Add", x, _feed_forward(g, _norm(g, x, 12), 12, 24))
    return g.model(g.linear(g("ReduceMean", x, g.constant([1]), keepdims=0), 12, 4))


@family
def wave_net(rng: R) -> ir.Model:
    g = Net(rng, 1, 2, 20)
    x, skips = g("Conv", "x", g.weight(8, 2, 1)), []
    for dilation in (1, 2, 4):
        padded = g("Pad", x, g.constant([0, 0, 2 * dilation, 0, 0, 0]))
        y = g("Conv", padded, g.weight(16, 8, 3), g.weight(16), dilations=[dilation])
        value, gate = g("Split", y, outs=2, axis=1, num_outputs=2)
        y = g("Mul", g("Tanh", value), g("Sigmoid", gate))
        skips.append(g("Conv", y, g.weight(10, 8, 1)))
        x = g("Add", x, g("Conv", y, g.weight(8, 8, 1)))
    return g.model(g("Conv", g("Relu", g("Sum", *skips)), g.weight(3, 10, 1)))


@family
def conformer(rng: R) -> ir.Model:
    g = Net(rng, 1, 9, 5)
    x = g.linear("x", 5, 12)
    x = g("Add", x, g("Mul", _feed_forward(g, _norm(g, x, 12), 12, 24), g.constant(np.float32(0.5))))
    normed = _norm(g, x, 12)
    x = g("Add", x, _attention(g, normed, normed, 12, 3))
    y = g("Conv", g("Transpose", _norm(g, x, 12), perm=[0, 2, 1]), g.weight(24, 12, 1))
    value, gate = g("Split", y, outs=2, axis=1, num_outputs=2)
    y = g("Mul", value, g("Sigmoid", gate))
    y = g("Conv", y, g.weight(12, 1, 3), group=12, pads=[1, 1])
    y = g("BatchNormalization", y, *(g.positive(12) for _ in range(4)))
    y = g("Conv", g("Mul", y, g("Sigmoid", y)), g.weight(12, 12, 1))
    x = g("Add", x, g("Transpose", y, perm=[0, 2, 1]))
    return g.model(g.linear(_norm(g, x, 12), 12, 4))


@family
def graph_network(rng: R) -> ir.Model:
    g = Net(rng, 7, 5)
    source, target = g.constant(rng.integers(0, 7, 12)), g.constant(rng.integers(0, 7, (12, 1)))
    x = g("Relu", g.linear("x", 5, 12))
    for _ in range(2):
        message = g("Relu", g.linear(g("Gather", x, source), 12, 10))
        total = g("ScatterND", g.constant(np.zeros((7, 10), np.float32)), target, message, reduction="add")
        x = g("Relu", g.linear(g("Concat", x, total, axis=1), 22, 12))
    return g.model(g("Gemm", g("ReduceMax", x, g.constant([0])), g.weight(12, 3)))


@family
def detector(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 8, 8)
    fine = g("Relu", g.conv("x", 3, 12, 3))
    coarse = g("Relu", g("Conv", fine, g.weight(16, 12, 3, 3), g.weight(16), strides=[2, 2], pads=[1] * 4))
    rows = []
    for x, width, size in ((fine, 12, 8), (coarse, 16, 4)):
        box = g.conv(g("LeakyRelu", g.conv(x, width, 10, 3)), 10, 4 * 6)
        score = g.conv(g("LeakyRelu", g.conv(x, width, 10, 3)), 10, 3)
        rows.append(g("Reshape", g("Concat", box, score, axis=1), g.constant([1, 27, size * size])))
    joined = g("Concat", *rows, axis=2)
    box, score = g("Split", joined, g.constant([24, 3]), outs=2, axis=1)
    bins = g("Transpose", g("Reshape", box, g.constant([1, 4, 6, 80])), perm=[0, 2, 1, 3])
    box = g("Conv", g("Softmax", bins, axis=1), g.constant(np.arange(6, dtype=np.float32).reshape(1, 6, 1, 1)))
    return g.model(g("Concat", g("Reshape", box, g.constant([1, 4, 80])), g("Sigmoid", score), axis=1))


@family
def recurrent_tagger(rng: R) -> ir.Model:
    g = Net(rng, 4, 1, 5)
    x = g("Relu", g.linear("x", 5, 10))
    y = g("GRU", x, g.weight(2, 24, 10), g.weight(2, 24, 8), g.weight(2, 48), hidden_size=8, direction="bidirectional")
    y = g("Reshape", g("Transpose", y, perm=[0, 2, 1, 3]), g.constant([4, 1, 16]))
    y = g("LSTM", y, g.weight(1, 24, 16), g.weight(1, 24, 6), g.weight(1, 48), hidden_size=6)
    return g.model(g.linear(g("Squeeze", y, g.constant([1])), 6, 3))


@family
def upscaler(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 6, 6)
    head = x = g.conv("x", 3, 12, 3)
    for _ in range(2):
        x = g("Add", x, g.conv(g("PRelu", g.conv(x, 12, 12, 3), g.weight(12, 1, 1)), 12, 12, 3))
    x = g("DepthToSpace", g.conv(g("Add", head, g.conv(x, 12, 12, 3)), 12, 48, 3), blocksize=2, mode="CRD")
    return g.model(g.conv(x, 12, 3, 3))
