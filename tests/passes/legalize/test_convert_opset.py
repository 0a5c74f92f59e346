"""Models go to another opset without a change in what they compute, or are refused with the node named."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from graphopt.errors import ModelError, RecipeError
from graphopt.ir import load, to_proto
from graphopt.pipeline import PASSES, Context
from graphopt.verify import compare, holds, run

Apply = Callable[..., ir.Model]
RNG = np.random.default_rng(0)
DATA = RNG.standard_normal((2, 3, 4)).astype(np.float32)
IMAGE = RNG.standard_normal((1, 4, 6, 6)).astype(np.float32)
OLDEST, NEWEST = 9, 22
"""What onnxruntime runs with all its kernels."""


def one(
    opset: int, op: str, data: np.ndarray, *constants: np.ndarray | None, outputs: int = 1, dtype: int | None = None,
    **attributes: Any,
) -> onnx.ModelProto:  # fmt: skip
    """A model of one node: its data an input, everything else constants."""
    made = [f"y{i}" for i in range(outputs)]
    names = ["x", *("" if c is None else f"c{i}" for i, c in enumerate(constants))]
    kind = helper.np_dtype_to_tensor_dtype(data.dtype)
    graph = helper.make_graph(
        [helper.make_node(op, names, made, name="the_node", **attributes)], "g",
        [helper.make_tensor_value_info("x", kind, data.shape)],
        [helper.make_tensor_value_info(name, dtype or kind, None) for name in made],
        [numpy_helper.from_array(c, f"c{i}") for i, c in enumerate(constants) if c is not None],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    inferred = onnx.shape_inference.infer_shapes(model)
    for value, known in zip(model.graph.output, inferred.graph.output, strict=True):
        value.CopyFrom(known)
        value.type.tensor_type.shape.SetInParent()
    return model


def convert(source: onnx.ModelProto | ir.Model, target: int) -> ir.Model:
    """Convert and check that the result is a valid model of that opset."""
    model = load(source if isinstance(source, onnx.ModelProto) else to_proto(source))
    PASSES.find("convert-opset").load()(target=target).run(model, Context())
    proto = to_proto(model)
    assert {o.version for o in proto.opset_import if not o.domain} == {target}
    onnx.checker.check_model(proto)
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    return model


def assert_same(before: Any, after: ir.Model, data: np.ndarray, fidelity: Any = "exact") -> None:
    expected, actual = run(load(before), [{"x": data}]), run(after, [{"x": data}])
    ok, reason = holds(fidelity, compare(expected, actual))
    assert ok, reason


ints = lambda *n: np.array(n, np.int64)  # noqa: E731
f32 = lambda *n: np.array(n, np.float32)  # noqa: E731
scalar = lambda n: np.array(n, np.float32)  # noqa: E731
HALF = {"coordinate_transformation_mode": "half_pixel"}


def topk() -> onnx.ModelProto:
    made = one(9, "TopK", DATA, outputs=2, k=2, axis=2)
    made.graph.output[1].type.tensor_type.elem_type = onnx.TensorProto.INT64
    return made


CASES: dict[str, tuple[onnx.ModelProto, np.ndarray]] = {
    "squeeze": (one(11, "Squeeze", DATA[:1], axes=[0]), DATA[:1]),
    "unsqueeze": (one(11, "Unsqueeze", DATA, axes=[0, 2]), DATA),
    "reduce": (one(11, "ReduceMean", DATA, axes=[1], keepdims=0), DATA),
    "reduce-all": (one(11, "ReduceSum", DATA, keepdims=0), DATA),
    "slice": (one(9, "Slice", DATA, starts=[1, 0], ends=[3, 2], axes=[1, 2]), DATA),
    "pad": (one(9, "Pad", DATA, pads=[0, 1, 2, 0, 0, 1], value=1.5), DATA),
    "pad-reflect": (one(9, "Pad", DATA, pads=[0, 1, 1, 0, 0, 1], mode="reflect"), DATA),
    "clip": (one(9, "Clip", DATA, min=-0.5, max=0.5), DATA),
    "clip-below": (one(9, "Clip", DATA, min=-0.5), DATA),
    "split": (one(11, "Split", DATA, outputs=2, axis=2, split=[1, 3]), DATA),
    "split-even": (one(11, "Split", DATA, outputs=2, axis=2), DATA),
    "topk": (topk(), DATA),
    "softmax-last": (one(11, "Softmax", DATA, axis=2), DATA),
    "dropout": (one(9, "Dropout", DATA, ratio=0.3), DATA),
    "batch-norm": (one(9, "BatchNormalization", DATA, *(f32(1, 2, 3),) * 4, epsilon=1e-3), DATA),
    "upsample": (one(9, "Upsample", IMAGE, f32(1, 1, 2, 2), mode="nearest"), IMAGE),
    "upsample-linear": (one(9, "Upsample", IMAGE, f32(1, 1, 2, 3), mode="linear"), IMAGE),
    "resize-asymmetric": (
        one(11, "Resize", IMAGE, f32(), f32(1, 1, 2, 2), mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric"), IMAGE,
    ),
    "concat-from-the-end": (one(11, "Concat", DATA, DATA, axis=-1), DATA),
    "gemm-without-bias": (one(11, "Gemm", DATA[0], DATA[0].T.copy()), DATA[0]),
    "flatten": (one(11, "Flatten", DATA, axis=-1), DATA),
    "max-pool": (one(11, "MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), IMAGE),
    "lstm": (one(9, "LSTM", DATA, RNG.standard_normal((1, 20, 4)).astype(np.float32),
                 RNG.standard_normal((1, 20, 5)).astype(np.float32), hidden_size=5), DATA),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_up_and_down_and_back_again(name: str) -> None:
    before, data = CASES[name]
    own = before.opset_import[0].version
    for target in (OLDEST, 10, 11, 12, 13, 14, 15, 17, 18, 20, NEWEST):
        there = convert(before, target)
        assert_same(before, there, data)
        assert_same(before, convert(there, own), data)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
def test_softmax_of_all_axes_from_one_on_and_of_one_axis(op: str) -> None:
    together = one(11, op, DATA, axis=1)
    for target in (13, NEWEST):
        assert_same(together, convert(together, target), DATA, "rounding")
    for axis in (0, 1, -1):
        alone = one(13, op, DATA, axis=axis)
        for target in (OLDEST, 12):
            assert_same(alone, convert(alone, target), DATA, "rounding")


WRITTEN_OUT = {
    "hard-swish": (one(14, "HardSwish", DATA), DATA, 9),
    "mish": (one(18, "Mish", DATA), DATA, 9),
    "gelu": (one(20, "Gelu", DATA), DATA, 9),
    "gelu-tanh": (one(20, "Gelu", DATA, approximate="tanh"), DATA, 9),
    "layer-norm": (one(17, "LayerNormalization", DATA, f32(1, 2, 3, 4), f32(0, 1, 0, 1)), DATA, 9),
    "group-norm": (one(21, "GroupNormalization", IMAGE, f32(1, 2, 3, 4), f32(0, 1, 2, 3), num_groups=2), IMAGE, 9),
    "celu": (one(12, "Celu", DATA), DATA, 9),
    "shape-part": (one(15, "Shape", DATA, start=1, end=-1, dtype=7), DATA, 9),
    "pad-some-axes": (one(18, "Pad", DATA, ints(1, 2), scalar(0.5), ints(-1)), DATA, 9),
    "split-uneven": (one(18, "Split", DATA, outputs=2, axis=1, num_outputs=2), DATA, 9),
    "resize-some-axes": (one(18, "Resize", IMAGE, None, f32(2, 2), axes=[2, 3], mode="linear"), IMAGE, 11),
    "reduce-nothing": (one(18, "ReduceSum", DATA, noop_with_empty_axes=1), DATA, 9),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_what_an_older_opset_lacks_is_written_out(name: str) -> None:
    before, data, lowest = WRITTEN_OUT[name]
    for target in (lowest, 12, 13, 16):
        if target < before.opset_import[0].version:
            assert_same(before, convert(before, target), data, "rounding")


REFUSED = {
    "training": (one(14, "BatchNormalization", DATA, *(f32(1, 2, 3),) * 4, training_mode=1, outputs=3), 13, "training"),
    "double": (
        one(11, "Clip", DATA.astype(np.float64), np.array(0.1), np.array(1.0)),
        10,
        "min = 0.1 cannot be written",
    ),
    "double-default": (one(11, "Clip", DATA.astype(np.float64), np.array(0.5)), 10, "that of a double"),
    "types": (one(14, "Add", np.ones(3, np.int8), np.ones(3, np.int8)), 13, r"does not take tensor\(int8\)"),
    "wrap": (one(19, "Pad", DATA, ints(1, 0, 0, 0, 0, 0), mode="wrap"), 18, "wrap"),
    "new": (one(14, "Trilu", DATA), 13, "does not have Trilu"),
    "steps": (one(10, "Slice", DATA, ints(0), ints(3), ints(1), ints(2)), 9, "steps"),
    "masked": (one(12, "Dropout", DATA, outputs=2), 11, "mask"),
    "last-index": (one(12, "ArgMax", DATA, select_last_index=1, dtype=7), 11, "select_last_index"),
    "half-pixel": (one(11, "Resize", IMAGE, f32(), f32(1, 1, 2, 2), mode="linear"), 10, "half_pixel"),
    "reduction": (one(18, "ScatterElements", DATA, np.zeros((2, 3, 4), np.int64), DATA, reduction="max"), 17, "max"),
    "limits": (one(11, "Clip", DATA, scalar(2.0), scalar(1.0)), 10, "cross"),
    "both-ways": (one(9, "Upsample", IMAGE, f32(1, 1, 2, 0.5), mode="nearest"), 11, "which pixel is nearest"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_said_is_refused_with_the_node_named(name: str) -> None:
    before, target, why = REFUSED[name]
    with pytest.raises(ModelError, match=f"the_node.*{why}"):
        convert(before, target)


def test_a_computed_input_that_would_be_an_attribute_is_refused() -> None:
    source = """<ir_version: 8, opset_import: ["": 13]> g (float[1, 3] x, int64[1] a) => (float[3] y) {
        y = Squeeze (x, a) }"""
    with pytest.raises(ModelError, match="its input 'a' is computed"):
        convert(onnx.parser.parse_model(source), 11)


def test_every_node_in_the_way_is_counted() -> None:
    lines = "".join(f"y{i} = Trilu (x)\n" for i in range(8))
    outputs = ", ".join(f"float[3, 3] y{i}" for i in range(8))
    source = f'<ir_version: 8, opset_import: ["": 14]> g (float[3, 3] x) => ({outputs}) {{ {lines} }}'
    with pytest.raises(ModelError, match="and 3 more"):
        convert(onnx.parser.parse_model(source), 13)


def test_a_limit_that_is_left_out_is_that_of_the_type() -> None:
    data = np.array([np.inf, -np.inf, 1, np.nan], np.float32)
    new = one(13, "Clip", data, scalar(0.0), None)
    old = one(9, "Clip", data, min=0.0)
    assert_same(new, convert(new, 9), data)
    assert_same(old, convert(old, 13), data)


def test_the_nearest_pixel_of_tensorflow_is_said_in_another_way() -> None:
    way = {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor", "mode": "nearest"}
    for scale in (2.0, 3.0, 1.5, 0.5):
        before = one(11, "Resize", IMAGE, f32(), f32(1, 1, scale, scale), **way)
        assert_same(before, convert(before, 13), IMAGE)


def test_bodies_and_functions_are_converted_as_well() -> None:
    source = """<ir_version: 9, opset_import: ["": 11, "local": 1]>
        g (float[1, 4] x, bool p) => (float[4] y) {
            y = If (p) <then_branch = t () => (u) { u = Squeeze <axes = [0]> (x) },
                        else_branch = e () => (v) { v = local.f (x) }>
        }
        <domain: "local", opset_import: ["": 11]>
        f (a) => (b) { b = Squeeze <axes = [0]> (a) }"""
    before = onnx.parser.parse_model(source)
    after = convert(before, 17)
    assert after.functions["local", "f", ""].opset_imports[""] == 17
    for flag in (True, False):
        sample = {"x": DATA[0, :1], "p": np.array(flag)}
        assert run(after, [sample])[0]["y"].tobytes() == run(load(before), [sample])[0]["y"].tobytes()


RESHAPE = """<ir_version: 8, opset_import: ["": 14]>
    g (float[N, 6] x) => (float[A, B] y) <int64 zero = {{0}}, int64[1] at = {{0}}> {{
    s = Shape (x)  n = Gather (s, zero)  u = Unsqueeze (n, at)  {line}  y = Reshape <allowzero = 1> (x, t) }}"""


@pytest.mark.parametrize("line", [
    "c = Constant <value_ints = [6]> ()  t = Concat <axis = 0> (u, c)",  # N stays where it was
    "c = Constant <value_ints = [6]> ()  t = Concat <axis = 0> (c, u)",  # N moves to the end
])  # fmt: skip
def test_a_size_that_may_be_zero_is_copied_or_worked_out(line: str) -> None:
    before = onnx.parser.parse_model(RESHAPE.format(line=line))
    before = onnx.shape_inference.infer_shapes(before, data_prop=True)
    after = convert(before, 13)
    for count in (0, 1, 3):
        assert_same(before, after, np.arange(6 * count, dtype=np.float32).reshape(count, 6))


def test_two_sizes_that_may_be_zero_are_refused() -> None:
    line = "m = Add (u, u)  t = Concat <axis = 0> (m, u)"
    before = onnx.parser.parse_model(RESHAPE.format(line=line))
    with pytest.raises(ModelError, match="allowzero"):
        convert(before, 13)


def test_constants_written_as_numbers_become_tensors() -> None:
    source = """<ir_version: 8, opset_import: ["": 13]> g (float[2] x) => (float[2] y) {
        a = Constant <value_floats = [1.0, 2.0]> ()  b = Constant <value_float = 3.0> ()  c = Add (a, b)  y = Mul (x, c)
    }"""
    before = onnx.parser.parse_model(source)
    assert_same(before, convert(before, 9), DATA[0, 0, :2])


def test_a_target_that_there_are_no_adapters_for_is_a_wrong_request(apply: Apply) -> None:
    for target in (6, 99):
        with pytest.raises(RecipeError, match="from 7 to 28"):
            apply("convert-opset", CASES["squeeze"][0], target=target)


def test_a_reader_of_the_older_opset_can_read_the_file() -> None:
    source = """<ir_version: 14, opset_import: ["": 28]>
        g (float[3] a, float[3] b) => (float[3] y) { y = Mod (a, b) }"""
    before = onnx.parser.parse_model(source)
    after = convert(before, 26)
    assert after.ir_version == 13
    a, b = np.array([5.5, -5.5, 6.0], np.float32), np.array([-3.0, 3.0, 3.0], np.float32)
    assert np.array_equal(run(after, [{"a": a, "b": b}])[0]["y"], np.mod(a, b))


def test_blocks_in_the_other_order_are_written_out_for_an_older_opset() -> None:
    source = """<ir_version: 14, opset_import: ["": 28]> g (float[1, 2, 4, 4] x) => (float[1, 8, 2, 2] y) {
        y = SpaceToDepth <blocksize = 2, mode = "CRD"> (x) }"""
    before = onnx.parser.parse_model(source)
    x = np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4)
    expected = x.reshape(1, 2, 2, 2, 2, 2).transpose(0, 1, 3, 5, 2, 4).reshape(1, 8, 2, 2)
    assert np.array_equal(run(convert(before, 26), [{"x": x}])[0]["y"], expected)


@pytest.mark.parametrize("limits", [{"most": 13}, {"least": 20, "most": 13}])
def test_a_newer_model_is_lowered_to_the_most(apply: Apply, limits: dict[str, int]) -> None:
    assert apply("convert-opset", CASES["squeeze"][0], **limits).opset_imports[""] <= 13


def test_other_domains_and_operators_stay(apply: Apply) -> None:
    source = """<ir_version: 8, opset_import: ["": 11, "com.example": 3]> g (float[2] x) => (float[2] y) {
        a = com.example.Squeeze <axes = [0]> (x)  y = Relu (a) }"""
    model = apply("convert-opset", source, target=17)
    assert dict(model.opset_imports) == {"": 17, "com.example": 3}
    assert model.graph[0].attributes["axes"].value == (0,)


@pytest.mark.parametrize("seed", range(3))
def test_a_sample_of_the_operator_tests_of_onnx(seed: int) -> None:
    """benchmarks/opset_conversion.py runs them all."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        tests = [t for t in load_model_tests(kind="node") if len(t.model.graph.node) == 1]
    rng = np.random.default_rng(seed)
    tried = 0
    for index in rng.permutation(len(tests))[:60]:
        proto, (inputs, _) = tests[index].model, tests[index].data_sets[0]
        kinds = [v.type.tensor_type.elem_type for v in (*proto.graph.input, *proto.graph.output)]
        op, own = proto.graph.node[0].op_type, proto.opset_import[0].version
        if set(kinds) - {1, 6, 7, 9} or own > 26 or op.startswith(("Random", "Bernoulli", "Multinomial", "Attention")):
            continue
        feeds = {v.name: np.asarray(a) for v, a in zip(proto.graph.input, inputs, strict=False)}
        target = int(rng.choice([9, 11, 13, 17, 21]))
        try:
            expected = run(load(proto), [feeds])
            after = load(proto)
            PASSES.find("convert-opset").load()(target=target).run(after, Context())
        except Exception as error:  # noqa: BLE001
            assert type(error).__name__ in ("ModelError", "ExecutionFailed"), error  # noqa: PT017
            continue
        ok, reason = holds("rounding", compare(expected, run(after, [feeds])))
        assert ok, f"{tests[index].name} to opset {target}: {reason}"
        tried += 1
    assert tried > 5
