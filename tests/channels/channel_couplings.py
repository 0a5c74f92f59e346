"""The networks of `test_relations`: name, builder, and how many units each family that can lose some has."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from channel_networks import Net
from onnx import TensorProto, helper

R = np.random.Generator
CASES: dict[str, tuple[object, list[int]]] = {}


def case(*units: int):
    """Register a network with the units of its families, smallest first."""

    def register(build):
        CASES[build.__name__] = (build, sorted(units))
        return build

    return register


@case(6)
def conv_norm_relu(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 5, 5)
    y = g.conv("x", 3, 6, 3)
    y = g("BatchNormalization", y, g.weight(6), g.weight(6), g.weight(6), g.positive(6))
    return g.model(g.conv(g("Relu", y), 6, 4))


@case(3, 3, 4)
def grouped_conv(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 5, 5)
    y = g("Relu", g.conv("x", 3, 12))
    return g.model(g.conv(g("Relu", g.conv(y, 12, 12, 3, group=4)), 12, 2))


@case(8)
def depthwise(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 5, 5)
    y = g.conv(g("Sigmoid", g.conv("x", 3, 8)), 8, 8, 3, group=8)
    return g.model(g.conv(g("Sigmoid", y), 8, 4))


@case(2, 6)
def depthwise_of_two(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 5, 5)
    y = g.conv(g("Relu", g.conv("x", 3, 6)), 6, 12, 3, group=6)
    return g.model(g.conv(y, 12, 4))


@case(2, 3, 5, 6)
def transposed(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 4, 4)
    y = g("Relu", g.conv("x", 3, 6))
    y = g("ConvTranspose", y, g.weight(6, 5, 2, 2), g.weight(10), strides=[2, 2], group=2)
    return g.model(g.conv(g.conv(g("Relu", y), 10, 6), 6, 2))


@case(6, 6)
def residual(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 5, 5)
    a = g("Relu", g.conv("x", 3, 6))
    b = g.conv(g("Relu", g.conv(a, 6, 6, 3)), 6, 6)
    return g.model(g.conv(g("Relu", g("Add", a, b)), 6, 2))


@case(4, 6)
def concatenation(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 5, 5)
    both = g("Concat", g("Relu", g.conv("x", 3, 4)), g("Sigmoid", g.conv("x", 3, 6)), axis=1)
    return g.model(g.conv(both, 10, 2))


@case(5)
def concatenated_with_itself(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 5, 5)
    y = g("Relu", g.conv("x", 3, 5))
    return g.model(g.conv(g("Concat", y, y, axis=1), 10, 2))


@case(3, 5)
def split(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 5, 5)
    a, b = g("Split", g("Relu", g.conv("x", 3, 8)), g.constant([3, 5]), outs=2, axis=1)
    return g.model(g.conv(a, 3, 2), g.conv(b, 5, 2))


@case(4)
def split_in_halves(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 5, 5)
    a, b = g("Split", g("Relu", g.conv("x", 3, 8)), outs=2, axis=1, num_outputs=2)
    return g.model(g.conv(g("Mul", a, b), 4, 2))


@case(4, 5)
def sliced(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 5, 5)
    y = g("Relu", g.conv("x", 3, 10))
    a = g("Slice", y, g.constant([0]), g.constant([8]), g.constant([1]), g.constant([2]))
    b = g("Slice", y, g.constant([-2]), g.constant([-11]), g.constant([1]), g.constant([-1]))
    return g.model(g.conv(a, 4, 2), g.conv(b, 9, 2), g.conv(y, 10, 2))


@case(3, 4)
def gathered(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 5, 5)
    y = g("Gather", g("Relu", g.conv("x", 3, 7)), g.constant([5, 1, 1, -1]), axis=1)
    return g.model(g.conv(y, 4, 2))


@case(12)
def shuffled(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 4, 4)
    y = g("Reshape", g("Relu", g.conv("x", 3, 12)), g.constant([1, 3, 4, 4, 4]))
    y = g("Reshape", g("Transpose", y, perm=[0, 2, 1, 3, 4]), g.constant([1, 12, 4, 4]))
    return g.model(g.conv(y, 12, 2))


@case(4, 5, 5)
def padded_channels(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 4, 4)
    y = g("Pad", g("Relu", g.conv("x", 3, 5)), g.constant([0, 2, 1, 0, 0, 3, 0, 1]))
    return g.model(g("ReduceSum", g.conv(y, 10, 4), g.constant([1])))


@case(6)
def flattened(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 4, 5)
    y = g("Flatten", g("Relu", g.conv("x", 3, 6)))
    return g.model(g("Gemm", y, g.weight(4, 120), g.weight(4), transB=1))


@case(6)
def reshaped_by_a_computed_shape(rng: R) -> ir.Model:
    g = Net(rng, "n", 3, 4, 5)
    y = g("Relu", g.conv("x", 3, 6))
    batch = g("Slice", g("Shape", y), g.constant([0]), g.constant([1]))
    y = g("Reshape", y, g("Concat", batch, g.constant([120]), axis=0))
    return g.model(g.linear(y, 120, 4))


@case(6)
def turned(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 4, 5)
    y = g("Transpose", g("Relu", g.conv("x", 3, 6)), perm=[0, 2, 3, 1])
    return g.model(g.linear(y, 6, 4))


@case(5)
def depth_to_space(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 4, 4)
    mode = str(rng.choice(["DCR", "CRD"]))
    y = g("DepthToSpace", g("Relu", g.conv("x", 3, 20)), blocksize=2, mode=mode)
    return g.model(g.conv(y, 5, 2))


@case(5)
def space_to_depth(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 4, 4)
    return g.model(g.conv(g("SpaceToDepth", g("Relu", g.conv("x", 3, 5)), blocksize=2), 20, 2))


@case(3, 8)
def squeeze_excite(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 4, 4)
    y = g("HardSwish", g.conv("x", 3, 8))
    s = g("Relu", g.conv(g("GlobalAveragePool", y), 8, 3))
    return g.model(g.conv(g("Mul", y, g("HardSigmoid", g.conv(s, 3, 8))), 8, 2))


@case(7)
def slopes_and_scales(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 4, 4)
    y = g("PRelu", g.conv("x", 3, 7), g.weight(7, 1, 1))
    y = g("Div", g("Sub", y, g.weight(1, 7, 1, 1)), g.positive(7, 1, 1))
    return g.model(g.conv(y, 7, 2))


@case(6)
def instance_norm(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 4, 4)
    y = g("InstanceNormalization", g.conv("x", 3, 6), g.weight(6), g.weight(6))
    return g.model(g.conv(g("Relu", y), 6, 2))


@case(3)
def group_norm(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 4, 4)
    y = g("GroupNormalization", g.conv("x", 3, 12), g.weight(12), g.weight(12), num_groups=3)
    return g.model(g.conv(g("Relu", y), 12, 2))


@case(9)
def feed_forward(rng: R) -> ir.Model:
    g = Net(rng, 2, 4, 6)
    y = g("LayerNormalization", "x", g.weight(6), g.weight(6))
    return g.model(g("Add", "x", g.linear(g("Gelu", g.linear(y, 6, 9)), 9, 6)))


@case(2, 3, 3)
def attention(rng: R) -> ir.Model:
    g = Net(rng, 2, 4, 6)
    q, k, v = (_heads(g, g.linear("x", 6, 6), 2, 3, turn) for turn in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
    y = g("MatMul", g("Softmax", g("MatMul", q, k)), v)
    y = g("Reshape", g("Transpose", y, perm=[0, 2, 1, 3]), g.constant([2, 4, 6]))
    return g.model(g.linear(y, 6, 6))


def _heads(g: Net, x: str, heads: int, size: int, turn: list[int]) -> str:
    return str(g("Transpose", g("Reshape", x, g.constant([0, -1, heads, size])), perm=turn))


@case(2, 3)
def fused_attention_inputs(rng: R) -> ir.Model:
    g = Net(rng, 1, 4, 6)
    y = g("Reshape", g.linear("x", 6, 18), g.constant([1, 4, 3, 2, 3]))
    q, k, v = g("Split", g("Transpose", y, perm=[2, 0, 3, 1, 4]), outs=3, axis=0, num_outputs=3)
    q, k, v = (g("Squeeze", one, g.constant([0])) for one in (q, k, v))
    y = g("MatMul", g("Softmax", g("MatMul", q, g("Transpose", k, perm=[0, 1, 3, 2]))), v)
    y = g("Reshape", g("Transpose", y, perm=[0, 2, 1, 3]), g.constant([1, 4, 6]))
    return g.model(g.linear(y, 6, 6))


@case(2, 2, 4, 4)
def grouped_queries(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 6)
    q = _heads(g, g.linear("x", 6, 16), 4, 4, [0, 2, 1, 3])
    k, v = (_repeated(g, _heads(g, g.linear("x", 6, 8), 2, 4, [0, 2, 1, 3])) for _ in range(2))
    y = g("MatMul", g("Softmax", g("MatMul", q, g("Transpose", k, perm=[0, 1, 3, 2]))), v)
    y = g("Reshape", g("Transpose", y, perm=[0, 2, 1, 3]), g.constant([1, 3, 16]))
    return g.model(g.linear(y, 16, 6))


def _repeated(g: Net, x: str) -> str:
    wide = g("Expand", g("Unsqueeze", x, g.constant([2])), g.constant([1, 2, 2, 3, 4]))
    return str(g("Reshape", wide, g.constant([1, 4, 3, 4])))


@case(2, 3, 4)
def attention_operator(rng: R) -> ir.Model:
    g = Net(rng, 1, 4, 6)
    y = g("Attention", g.linear("x", 6, 6), g.linear("x", 6, 6), g.linear("x", 6, 8), q_num_heads=2, kv_num_heads=2)
    return g.model(g.linear(y, 8, 6), opset=23)


@case(2)
def rotary(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 6)
    cos, sin = g.weight(1, 3, 2), g.weight(1, 3, 2)
    y = g("RotaryEmbedding", g.linear("x", 6, 8), cos, sin, num_heads=2)
    return g.model(g.linear(y, 8, 5), opset=23)


@case(4)
def pairs_turned_by_hand(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 6)
    y = g.linear("x", 6, 8)
    a, b = g("Split", y, outs=2, axis=2, num_outputs=2)
    y = g("Add", g("Mul", y, g.weight(3, 8)), g("Mul", g("Concat", g("Neg", b), a, axis=2), g.weight(3, 8)))
    return g.model(g.linear(y, 8, 5))


@case(5)
def lstm(rng: R) -> ir.Model:
    g = Net(rng, 4, 1, 3)
    w = (g.weight(2, 20, 3), g.weight(2, 20, 5), g.weight(2, 40), "", g.weight(2, 1, 5), g.weight(2, 1, 5))
    y, _, _ = g("LSTM", "x", *w, g.weight(2, 15), outs=3, hidden_size=5, direction="bidirectional")
    y = g("Reshape", g("Transpose", y, perm=[0, 2, 1, 3]), g.constant([4, 1, 10]))
    return g.model(g.linear(y, 10, 3))


@case(4, 6)
def gru_behind_a_layer(rng: R) -> ir.Model:
    g = Net(rng, 4, 1, 3)
    w = (g.weight(1, 12, 6), g.weight(1, 12, 4), g.weight(1, 24))
    y, _ = g("GRU", g.linear("x", 3, 6), *w, outs=2, hidden_size=4, linear_before_reset=g.pick(0, 1))
    return g.model(g.linear(g("Squeeze", y, g.constant([1])), 4, 3))


@case(6)
def embedding(rng: R) -> ir.Model:
    g = Net(rng, 2, 3, dtype=TensorProto.INT64)
    y = g("Add", g("Gather", g.weight(9, 6), "x"), g.weight(3, 6))
    return g.model(g.linear(y, 6, 4))


@case(4, 5)
def einsum(rng: R) -> ir.Model:
    g = Net(rng, 2, 3, 6)
    y = g("Einsum", "x", g.weight(6, 4, 5), equation="...d,dhk->...hk")
    return g.model(g("Einsum", y, g.weight(4, 5, 2), equation="bthk,hko->bto"))


@case(5)
def weights_on_the_left(rng: R) -> ir.Model:
    g = Net(rng, 2, 4, 3)
    y = g("Relu", g("MatMul", g.weight(5, 4), "x"))
    return g.model(g("MatMul", g.weight(2, 5), y))


@case(4)
def gemm_of_transposes(rng: R) -> ir.Model:
    g = Net(rng, 6, 2)
    y = g("Gemm", "x", g.weight(4, 6), g.weight(1, 4), transA=1, transB=1)
    return g.model(g("Gemm", g("Relu", y), g.weight(4, 3)))


@case(4)
def tiled(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 2, 2)
    y = g("Tile", g("Relu", g.conv("x", 3, 4)), g.constant([1, 3, 2, 1]))
    y = g("Mul", g("Reshape", y, g.constant([1, 3, 4, 4, 2])), g.weight(1, 1, 4, 1, 1))
    return g.model(g("ReduceSum", y, g.constant([2])))


@case(5)
def chosen_by_a_mask(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 4, 4)
    y = g.conv("x", 3, 5)
    y = g("Where", g("Greater", y, g.weight(1, 5, 1, 1)), y, g.weight(5, 1, 1))
    return g.model(g.conv(y, 5, 2))


@case(5)
def resized_to_sizes(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 4, 4)
    y = g("Resize", g("Relu", g.conv("x", 3, 5)), "", "", g.constant([1, 5, 8, 8]))
    return g.model(g.conv(g("MaxPool", y, kernel_shape=[2, 2]), 5, 2))


@case(4)
def branches(rng: R) -> ir.Model:
    g = Net(rng, 1, 3)
    y = g("Relu", g("Gemm", "x", g.weight(3, 4)))
    bodies = []
    for place, op in enumerate(("Sigmoid", "Tanh")):
        node = helper.make_node(op, [y], [f"b{place}"], name=f"b{place}")
        info = helper.make_empty_tensor_value_info(f"b{place}")
        bodies.append(helper.make_graph([node], f"body{place}", [], [info]))
    total = g("ReduceSum", "x", keepdims=0)
    z = g("If", g("Greater", total, g.constant(np.float32(0))), then_branch=bodies[0], else_branch=bodies[1])
    return g.model(g("Gemm", z, g.weight(4, 2)))


def _step(g: Net, name: str, inputs: list[str], outputs: list[str]) -> list[onnx.NodeProto]:
    """h' = tanh(h W + r) for a state h and a row r."""
    return [
        helper.make_node("MatMul", [inputs[0], g.weight(4, 4)], [f"{name}m"], name=f"{name}m"),
        helper.make_node("Add", [f"{name}m", inputs[1]], [f"{name}s"], name=f"{name}s"),
        helper.make_node("Tanh", [f"{name}s"], [outputs[0]], name=f"{name}t"),
    ]


def _infos(*names: str) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 4]) for name in names]


@case(4)
def scanned(rng: R) -> ir.Model:
    g = Net(rng, 3, 2, 3)
    rows = g.linear("x", 3, 4)
    nodes = [*_step(g, "b", ["h", "r"], ["g"]), helper.make_node("Relu", ["g"], ["o"], name="bo")]
    body = helper.make_graph(nodes, "body", _infos("h", "r"), _infos("g", "o"))
    start = g("Gather", rows, g.constant(np.int64(0)))
    state, out = g("Scan", start, rows, outs=2, body=body, num_scan_inputs=1)
    return g.model(g.linear(state, 4, 2), g.linear(out, 4, 2))


@case(4)
def looped(rng: R) -> ir.Model:
    g = Net(rng, 2, 3)
    start = g.linear("x", 3, 4)
    nodes = [
        *_step(g, "b", ["h", start], ["g"]),
        helper.make_node("Identity", ["c"], ["d"], name="bc"),
        helper.make_node("Relu", ["g"], ["o"], name="bo"),
    ]
    turn = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    on, off = (helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in "cd")
    body = helper.make_graph(nodes, "body", [turn, on, *_infos("h")], [off, *_infos("g", "o")])
    state, out = g("Loop", g.constant(np.int64(3)), g.constant(np.bool_(True)), start, outs=2, body=body)
    return g.model(g.linear(state, 4, 2), g.linear(out, 4, 2))


@case(6)
def quantized_weights(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 4, 4)
    codes = g.constant(rng.integers(-100, 100, (6, 3, 1, 1)).astype(np.int8))
    w = g("DequantizeLinear", codes, g.positive(6), g.constant(np.zeros(6, np.int8)), axis=0)
    return g.model(g.conv(g("Relu", g("Conv", "x", w)), 6, 2))


@case(5)
def reductions_beside(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 4, 4)
    y = g("ReduceMean", g("Relu", g.conv("x", 3, 5)), g.constant([2, 3]), keepdims=0)
    return g.model(g("Gemm", y, g.weight(5, 2)))


@case(5)
def summed_over_channels(rng: R) -> ir.Model:
    g = Net(rng, 1, 3, 4, 4)
    y = g("Mul", g.conv("x", 3, 5), g.weight(5, 1, 1))
    return g.model(g("ReduceSum", y, g.constant([1])))


@case(4)
def zeros_of_a_computed_shape(rng: R) -> ir.Model:
    g = Net(rng, 1, 3)
    y = g.linear("x", 3, 4)
    zeros = g("ConstantOfShape", g.constant([1, 4]))
    return g.model(g.linear(g("Max", y, zeros), 4, 2))
