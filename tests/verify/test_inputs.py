"""Generated inputs: the models run on them, and their values mean something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from graphopt.errors import UserError
from graphopt.verify import generate, run

HEADER = '<ir_version: 9, opset_import: ["": 17]>\n'

BERT = (
    HEADER
    + """
g (int64[batch, seq] input_ids, int64[batch, seq] attention_mask, int64[batch, seq] token_type_ids)
  => (float[batch, seq, 2] y)
  <float[3, 2] words = {1, 2, 3, 4, 5, 6}, float[2, 2] kinds = {1, 2, 3, 4}, float one = {1}, float low = {-10000},
   int64[1] axis = {2}>
{
   word = Gather(words, input_ids)
   kind = Gather(kinds, token_type_ids)
   both = Add(word, kind)
   wide = Unsqueeze(attention_mask, axis)
   number = Cast<to = 1>(wide)
   hidden = Sub(one, number)
   penalty = Mul(hidden, low)
   y = Add(both, penalty)
}
"""
)


def test_a_bert_gets_tokens_of_its_table_masks_of_zero_and_one_and_no_second_segment() -> None:
    model = ir.from_onnx_text(BERT)
    samples = generate(model, dims={"batch": 4, "seq": 9}, samples=6)
    tokens = np.concatenate([sample["input_ids"].ravel() for sample in samples])
    assert set(tokens) == {0, 1, 2}
    for sample in samples:
        assert set(np.unique(sample["attention_mask"])) <= {0, 1}
        assert sample["attention_mask"].any(axis=-1).all()
        assert not sample["token_type_ids"].any()
    assert any((sample["attention_mask"] == 0).any() for sample in samples)
    assert run(model, samples)[0]["y"].shape == (4, 9, 2)


def test_a_mask_is_known_by_what_consumes_it_not_only_by_its_name() -> None:
    model = ir.from_onnx_text(BERT.replace("attention_mask", "a"))
    assert set(np.unique([sample["a"] for sample in generate(model, dims={"seq": 50})])) == {0, 1}


def test_a_network_of_dynamic_height_and_width_runs() -> None:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 3, 3, 3], np.ones(108, np.float32))
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("GlobalAveragePool", ["c"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "C", "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weight],
    )
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9))
    samples = generate(model)
    assert samples[0]["x"].shape == (1, 3, 224, 224)
    assert run(model, samples)[0]["y"].shape == (1, 4, 1, 1)


def test_an_lstm_gets_its_sequence_length_and_a_state_of_the_batch() -> None:
    rng = np.random.default_rng(0)
    size = {"w": [1, 8, 3], "r": [1, 8, 2], "b": [1, 16]}
    tensors = [
        helper.make_tensor(name, TensorProto.FLOAT, shape, rng.standard_normal(shape).astype(np.float32).ravel())
        for name, shape in size.items()
    ]
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "w", "r", "b", "lens", "h0"], ["", "h"], hidden_size=2)],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["time", "batch", None]),
            helper.make_tensor_value_info("lens", TensorProto.INT32, ["batch"]),
            helper.make_tensor_value_info("h0", TensorProto.FLOAT, [1, None, 2]),
        ],
        [helper.make_tensor_value_info("h", TensorProto.FLOAT, None)],
        tensors,
    )
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9))
    samples = generate(model, dims={"time": 6})
    assert samples[0]["x"].shape == (6, 1, 3)
    assert samples[0]["lens"].tolist() == [6]
    assert run(model, samples)[0]["h"].shape == (1, 1, 2)


@pytest.mark.parametrize(
    ("graph", "name", "accepts"),
    [
        ("(float[2,3] x, int64[2] s) => (float[a,b] y) { y = Reshape(x, s) }", "s", lambda v: v.tolist() == [-1, 1]),
        ("(float[2,3] x, int64[1] k) => (float[2,n] y, int64[2,n] i) { y, i = TopK(x, k) }", "k", lambda v: v == 1),
        ("(float[4,3] x, int64[n,1] i) => (float[n,3] y) { y = GatherND(x, i) }", "i", lambda v: (v < 4).all()),
        ("(float[4,3] x, int64[4,2] i) => (float[4,2] y) { y = GatherElements<axis=1>(x, i) }",
         "i", lambda v: v.max() < 3),
        ("(float[5] x) => (float[5] y) { y = Log(x) }", "x", lambda v: (v > 0).all()),
        ("(int32[5] x, int32[5] d) => (int32[5] y) { y = Div(x, d) }", "d", lambda v: (v > 0).all()),
        ("(float[5] x, bool[5] c) => (float[5] y) { y = Where(c, x, x) }", "c", lambda v: v.dtype == bool),
        ("(float[2,6] x, int64[3] s) => (float[2,a] p, float[2,b] q, float[2,c] r) { p, q, r = Split<axis=1>(x, s) }",
         "s", lambda v: v.sum() == 6),
        ("(float[2,6] x, int64[2] a, int64[2] b) => (float[p,q] y) { y = Slice(x, a, b) }", "b", lambda v: v.min() > 5),
    ],
)  # fmt: skip
def test_operands_that_steer_a_node_make_it_run(graph: str, name: str, accepts: Callable[[Any], bool]) -> None:
    model = ir.from_onnx_text(f"{HEADER}g {graph}")
    samples = generate(model)
    assert all(accepts(sample[name]) for sample in samples)
    assert len(run(model, samples)) == 4


def test_indices_stay_inside_the_table_behind_moves_casts_and_functions() -> None:
    text = (
        '<ir_version: 9, opset_import: ["": 17, "my": 1]>\n'
        "g (int32[n] ids) => (float[n, 1, 2] y) <float[3, 2] table = {1, 2, 3, 4, 5, 6}, int64[1] axis = {1}>\n"
        "{ wide = Unsqueeze(ids, axis) long = Cast<to = 7>(wide) y = my.look(table, long) }\n"
        '<domain: "my", opset_import: ["": 17]> look (t, i) => (o) { o = Gather(t, i) }'
    )
    model = ir.from_onnx_text(text)
    samples = generate(model, dims={"n": 200})
    assert set(np.unique([s["ids"] for s in samples])) == {0, 1, 2}
    run(model, samples)


def test_a_selector_takes_the_constants_that_it_is_compared_with() -> None:
    text = (
        HEADER
        + "g (int64 s) => (bool a, bool b) <int64 p = {8000}, int64 q = {16000}> {a = Equal(s, p) b = Equal(s, q)}"
    )
    assert {int(sample["s"]) for sample in generate(ir.from_onnx_text(text))} == {8000, 16000}


KINDS = "FLOAT DOUBLE FLOAT16 BFLOAT16 FLOAT8E4M3FN INT8 UINT8 INT16 UINT16 INT32 UINT32 INT64 UINT64 INT4 BOOL STRING"


@pytest.mark.parametrize("kind", KINDS.split())
def test_every_element_type_is_generated_as_the_model_declares_it(kind: str) -> None:
    dtype = ir.DataType[kind]
    x = ir.val("x", dtype, ir.Shape([2, 50]))
    node = ir.node("Identity", [x])
    model = ir.Model(ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 21}), ir_version=10)
    for sample in generate(model):
        assert sample["x"].dtype == (object if kind == "STRING" else dtype.numpy())
        assert sample["x"].shape == (2, 50)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=4), st.integers(0, 2**32))
def test_floats_are_finite_varied_and_repeatable(shape: list[int], seed: int) -> None:
    x = ir.val("x", ir.DataType.FLOAT16, ir.Shape(shape))
    node = ir.node("Neg", [x])
    model = ir.Model(ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 17}), ir_version=9)
    samples = generate(model, seed=seed)
    again = generate(model, seed=seed)
    for one, two in zip(samples, again, strict=True):
        assert np.isfinite(one["x"]).all()
        assert one["x"].tobytes() == two["x"].tobytes()
    if np.prod(shape) > 0:
        assert samples[0]["x"].tobytes() != samples[2]["x"].tobytes()


def test_some_sample_holds_zeros_of_both_signs_and_some_large_values() -> None:
    text = HEADER + "g (float[1000] x) => (float[1000] y) { y = Neg(x) }"
    everything = np.concatenate([sample["x"] for sample in generate(ir.from_onnx_text(text))])
    zeros = np.signbit(everything[everything == 0])
    assert zeros.any()
    assert not zeros.all()
    assert np.abs(everything).max() > 10


def test_a_sequence_input_is_refused_in_the_users_words() -> None:
    text = HEADER + "g (seq(float[2]) x) => (int64 y) { y = SequenceLength(x) }"
    with pytest.raises(UserError, match="'x' is a"):
        generate(ir.from_onnx_text(text))
