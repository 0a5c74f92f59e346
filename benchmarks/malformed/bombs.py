"""Models written to do harm: small files that ask for all the memory, all the time, or files of somebody else."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HUGE = (1_000_000, 262_144)
"""A shape of one terabyte of float32."""


def bombs() -> dict[str, bytes]:
    """The files by name. What refers to other files finds them where `files.lay_out` puts them."""
    return {
        **{name: _parsed(text) for name, text in _TEXTS.items()},
        **{name: make() for name, make in _MADE.items()},
        **{f"external {name}": _external(*place) for name, place in _PLACES.items()},
    }


def _parsed(text: str) -> bytes:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}').SerializeToString()


_BIG = "{1000000, 262144}"
_TEXTS = {
    "terabyte by ConstantOfShape":
        f"g (float[1] x) => (float[1] y) <int64[2] to = {_BIG}>"
        "{ z = ConstantOfShape(to)  m = ReduceMax <keepdims = 0> (z)  y = Add(x, m) }",
    "terabyte as the output":
        f"g (float[1] x) => (float[a,b] y) <int64[2] to = {_BIG}> {{ y = Expand(x, to) }}",
    "terabyte by Tile":
        f"g (float[1,1] x) => (float[a,b] y) <int64[2] to = {_BIG}> {{ y = Tile(x, to) }}",
    "terabyte by Tile of a constant":
        f"g (float[1] x) => (float[a,b] y) <int64[2] to = {_BIG}, float[1,1] c = {{1.0}}>"
        "{ t = Tile(c, to)  y = Add(t, x) }",
    "terabyte by Range":
        "g (float[1] x) => (float y) <int64 a = {0}, int64 b = {137438953472}, int64 c = {1}>"
        "{ r = Range(a, b, c)  f = Cast <to = 1> (r)  m = ReduceMax <keepdims = 0> (f)  y = Add(m, x) }",
    "terabyte by Pad":
        "g (float[1,1] x) => (float[a,b] y) <int64[4] p = {0, 0, 1000000, 262144}> { y = Pad(x, p) }",
    "terabyte by Resize":
        "g (float[1,1,1,1] x) => (float[a,b,c,d] y) <int64[4] s = {1, 1, 1000000, 262144}>"
        "{ y = Resize <mode = \"nearest\"> (x, , , s) }",
    "terabyte by OneHot":
        "g (float[1] x) => (float[a,b] y) <int64[1000] i = {" + ", ".join(["0"] * 1000) + "}, int64 n = {268435456},"
        " float[2] v = {0.0, 1.0}> { h = OneHot(i, n, v)  y = Add(h, x) }",
    "terabyte by Conv pads":
        "g (float[1,1,1,1] x) => (float[a,b,c,d] y) <float[1,1,1,1] w = {1.0}>"
        "{ y = Conv <pads = [500000, 131072, 500000, 131072]> (x, w) }",
    "terabyte by broadcasting":
        "g (float[1000000,1] x, float[1,262144] z) => (float[a,b] y) { y = Add(x, z) }",
    "terabyte as the input":
        "g (float[1000000,262144] x) => (float[a,b] y) { y = Relu(x) }",
    "sixteen gigabytes as the input":
        "g (float[4294967296] x) => (float[a] y) { y = Relu(x) }",
    "sixteen gigabytes by ConstantOfShape":
        "g (float[1] x) => (float y) <int64[1] to = {4294967296}>"
        "{ z = ConstantOfShape(to)  m = ReduceMax <keepdims = 0> (z)  y = Add(x, m) }",
    "sixteen gigabytes that the data decide":
        "g (float[1] x) => (float y) <int64[1] to = {4294967296}, float nil = {0.0}> {"
        " c = Cast <to = 7> (x)  d = Sub(c, c)  t = Add(d, to)  z = ConstantOfShape(t)"
        " m = ReduceMax <keepdims = 0> (z)  y = Add(x, m) }",
    "dims that overflow":
        "g (float[4611686018427387904,4611686018427387904] x) => (float[a,b] y) { y = Relu(x) }",
    "a loop without an end":
        "g (float[1] x) => (float[1] y) <int64 n = {9223372036854775807}, bool yes = {1}> {"
        " y = Loop (n, yes, x) <body = b (int64 i, bool on, float[1] h) => (bool go, float[1] k)"
        " { go = Identity(on)  k = Add(h, x) }> }",
    "a loop without a number":
        "g (float[1] x) => (float[1] y) <bool yes = {1}> {"
        " y = Loop ( , yes, x) <body = b (int64 i, bool on, float[1] h) => (bool go, float[1] k)"
        " { go = Identity(on)  k = Add(h, x) }> }",
    "a loop of constants without an end":
        "g (float[1] x) => (float[1] y) <int64 n = {9223372036854775807}, bool yes = {1}, float[1] o = {1.0}> {"
        " l = Loop (n, yes, o) <body = b (int64 i, bool on, float[1] h) => (bool go, float[1] k)"
        " { go = Identity(on)  k = Add(h, o) }>  y = Add(l, x) }",
    "a loop that gathers without an end":
        "g (float[1] x) => (float[1] y, float[k,1] ys) <int64 n = {9223372036854775807}, bool yes = {1}> {"
        " y, ys = Loop (n, yes, x) <body = b (int64 i, bool on, float[1] h) => (bool go, float[1] k, float[1] o)"
        " { go = Identity(on)  k = Add(h, x)  o = Identity(k) }> }",
}  # fmt: skip


def _graph(nodes: list[onnx.NodeProto], weights: list[TensorProto]) -> bytes:
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def _doublings() -> bytes:
    """Forty Concats, each twice as long as the one before: 4 TB out of a line each."""
    names = ["x", *(f"v{i}" for i in range(40)), "y"]
    return _graph([helper.make_node("Concat", [a, a], [b], axis=0) for a, b in pairwise(names)], [])


def _constant_doublings() -> bytes:
    names = ["c", *(f"v{i}" for i in range(40))]
    nodes = [helper.make_node("Concat", [a, a], [b], axis=0) for a, b in pairwise(names)]
    nodes.append(helper.make_node("Add", [names[-1], "x"], ["y"]))
    return _graph(nodes, [numpy_helper.from_array(np.ones(1, np.float32), "c")])


def _nested_bodies(depth: int) -> bytes:
    def body(level: int) -> onnx.GraphProto:
        name = f"o{level}"
        node = helper.make_node("Identity", ["x"], [name])
        return helper.make_graph([node], f"g{level}", [], [helper.make_tensor_value_info(name, 1, None)])

    inner = body(depth)
    for level in reversed(range(depth)):
        node = helper.make_node("If", ["c"], [f"o{level}"], then_branch=inner, else_branch=body(10_000 + level))
        inner = helper.make_graph([node], f"g{level}", [], [helper.make_tensor_value_info(f"o{level}", 1, None)])
    main = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=body(20_000))
    return _graph([main], [numpy_helper.from_array(np.bool_(True), "c")])


def _nested_bytes(depth: int) -> bytes:
    """Graph in attribute in node in graph …, as bytes: protobuf's own classes could not be asked to build it."""
    inner = b""
    for _ in range(depth):
        for tag in (b"\x32", b"\x2a", b"\x0a"):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
            inner = tag + _varint(len(inner)) + inner
    return b"\x08\x08\x42\x04\x0a\x00\x10\x11" + b"\x3a" + _varint(len(inner)) + inner


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


def _functions(count: int, calls: int, cyclic: bool) -> bytes:
    """Functions that each call the next several times: with 30 of them, a billion nodes when written out."""
    made = []
    for level in range(count):
        last = level == count - 1
        ring = f"f{0 if last else level + 1}"
        own = last and not cyclic
        nodes = [
            helper.make_node("Relu" if own else ring, [f"v{i}"], [f"v{i + 1}"], domain="" if own else "own")
            for i in range(calls)
        ]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        made.append(helper.make_function("own", f"f{level}", ["v0"], [f"v{calls}"], nodes, opsets))
    call = helper.make_node("f0", ["x"], ["y"], domain="own")
    model = onnx.ModelProto.FromString(_graph([call], []))
    model.opset_import.add(domain="own", version=1)
    model.functions.extend(made)
    return model.SerializeToString()


def _chain(count: int) -> bytes:
    names = ["x", *(f"v{i}" for i in range(count)), "y"]
    return _graph([helper.make_node("Neg", [a], [b]) for a, b in pairwise(names)], [])


def _rank(rank: int) -> bytes:
    shape = numpy_helper.from_array(np.ones(rank, np.int64), "s")
    return _graph([helper.make_node("Reshape", ["x", "s"], ["y"])], [shape])


def _sparse_terabyte() -> bytes:
    values = numpy_helper.from_array(np.ones(1, np.float32), "v")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    constant = helper.make_node("Constant", [], ["w"], sparse_value=helper.make_sparse_tensor(values, indices, HUGE))
    return _graph([constant, helper.make_node("Add", ["w", "x"], ["y"])], [])


def _empty_tensor() -> bytes:
    weight = TensorProto(name="w", data_type=1, dims=[0, 1 << 62])
    return _graph([helper.make_node("Add", ["w", "x"], ["y"])], [weight])


_MADE: dict[str, Callable[[], bytes]] = {
    "doublings": _doublings,
    "doublings of a constant": _constant_doublings,
    "30 bodies deep": lambda: _nested_bodies(30),
    "20,000 messages deep": lambda: _nested_bytes(20_000),
    "100 messages deep": lambda: _nested_bytes(33),
    "a function that calls itself": lambda: _functions(1, 1, True),
    "two functions that call each other": lambda: _functions(2, 1, True),
    "a billion nodes when written out": lambda: _functions(30, 2, False),
    "300 functions deep": lambda: _functions(300, 1, False),
    "a chain of 3,000": lambda: _chain(3000),
    "rank 5,000": lambda: _rank(5000),
    "a sparse terabyte": _sparse_terabyte,
    "an empty tensor of huge dims": _empty_tensor,
    "a graph without anything": lambda: onnx.ModelProto(
        ir_version=8, opset_import=[helper.make_opsetid("", 17)], graph=onnx.GraphProto()
    ).SerializeToString(),
    "an opset of the far future": lambda: _parsed("g (float[1] x) => (float[1] y) { y = Relu(x) }").replace(
        b"\x10\x11", b"\x10\x7f"
    ),
}

_PLACES: dict[str, tuple[str, int, int | None]] = {
    "absolute": ("/etc/passwd", 0, 4),
    "above": ("../secret.bin", 0, 4),
    "around": ("sub/../../secret.bin", 0, 4),
    "by a link": ("link.bin", 0, 4),
    "by a link of a folder": ("linked/secret.bin", 0, 4),
    "in a loop of links": ("loop.bin", 0, 4),
    "a device": ("/dev/zero", 0, 4),
    "a pipe": ("pipe", 0, 4),
    "the model itself": ("model.onnx", 0, 4),
    "far behind the end": ("weights.bin", 1 << 62, 4),
    "long": ("weights.bin", 0, 1 << 62),
    "before the start": ("weights.bin", -8, 4),
    "negative in length": ("weights.bin", 0, -4),
    "a folder": ("sub", 0, 4),
    "without a name": ("", 0, 4),
    "a name too long": ("n" * 5000, 0, 4),
    "a name with a zero": ("weights.bin\0.txt", 0, 4),
    "of a percent": ("%2e%2e/secret.bin", 0, 4),
    "a terabyte that is not there": ("weights.bin", 0, None),
}


def _external(location: str, offset: int, length: int | None) -> bytes:
    dims = [1] if length is not None else list(HUGE)
    far = TensorProto(name="w", data_type=1, dims=dims, data_location=TensorProto.EXTERNAL)
    far.external_data.add(key="location", value=location)
    far.external_data.add(key="offset", value=str(offset))
    if length is not None:
        far.external_data.add(key="length", value=str(length))
    return _graph([helper.make_node("Add", ["w", "x"], ["y"])], [far])
