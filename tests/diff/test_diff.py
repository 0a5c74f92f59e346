"""What differs is found, named, and measured; what is only called otherwise is not a difference."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import graphopt
from graphopt.diff import diff, render_html
from graphopt.errors import UserError

Edited = Callable[[Callable[[onnx.ModelProto], None]], Path]


def renamed(proto: onnx.ModelProto, seed: int = 0) -> None:
    """Other names for every node and every value inside, initializers in another order."""
    boundary = {value.name for value in (*proto.graph.input, *proto.graph.output)}
    for place, node in enumerate(proto.graph.node):
        node.name = f"op_{seed}_{place}"
        for names in (node.input, node.output):
            names[:] = [name if name in boundary else f"v{seed}_{name}" for name in names]
    for tensor in proto.graph.initializer:
        tensor.name = f"v{seed}_{tensor.name}"
    tensors = list(proto.graph.initializer)
    random.Random(seed).shuffle(tensors)
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(tensors)


def weight(proto: onnx.ModelProto, name: str) -> onnx.TensorProto:
    """An initializer by name."""
    return next(tensor for tensor in proto.graph.initializer if tensor.name == name)


def node(proto: onnx.ModelProto, name: str) -> onnx.NodeProto:
    """A node by name."""
    return next(one for one in proto.graph.node if one.name == name)


def test_a_model_is_identical_to_itself_and_nothing_runs(first: Path) -> None:
    found = diff(first, first)
    assert (found.verdict, found.equal, found.outputs.samples) == ("identical", 9, 0)


def test_other_names_are_no_difference(first: Path, edited: Edited) -> None:
    found = diff(first, edited(renamed))
    assert (found.verdict, found.equal) == ("identical", 9)


def test_a_changed_weight_is_measured(first: Path, edited: Edited) -> None:
    moved = {}

    def edit(proto: onnx.ModelProto) -> None:
        tensor = weight(proto, "wg")
        array = numpy_helper.to_array(tensor).copy()
        moved["before"] = array.copy()
        array[1, 2] += 0.25
        moved["after"] = array
        tensor.CopyFrom(numpy_helper.from_array(array, "wg"))

    found = diff(first, edited(edit))
    assert found.verdict == "different"
    assert found.outputs.status == "different"
    assert (found.equal, found.changed, found.rewritten) == (8, (), ())
    (change,) = found.weights
    before, after = moved["before"].astype(np.float64), moved["after"].astype(np.float64)
    assert (change.node, change.name, change.kind) == ("gemm", "wg", "float32[4,5]")
    assert change.max_abs == pytest.approx(0.25, rel=1e-6)
    assert change.max_rel == pytest.approx(0.25 / np.abs(before).max(), rel=1e-6)
    assert change.sqnr_db == pytest.approx(10 * np.log10((before**2).sum() / ((before - after) ** 2).sum()))


def test_a_weight_that_became_nan_is_seen(first: Path, edited: Edited) -> None:
    def edit(proto: onnx.ModelProto) -> None:
        array = numpy_helper.to_array(weight(proto, "wg")).copy()
        array[0, 0] = np.nan
        weight(proto, "wg").CopyFrom(numpy_helper.from_array(array, "wg"))

    found = diff(first, edited(edit), samples=0)
    (change,) = found.weights
    assert (change.max_abs, change.kind) == (None, "float32[4,5], NaN or infinity in only one")


def test_a_change_in_the_middle_of_a_large_weight_is_seen(tmp_path: Path) -> None:
    array = np.ones((1, 100_000), np.float32)
    for name in ("a", "b"):
        graph = helper.make_graph(
            [helper.make_node("Add", ["x", "w"], ["y"], "add")],
            "g",
            [helper.make_tensor_value_info("x", 1, [1, 100_000])],
            [helper.make_tensor_value_info("y", 1, [1, 100_000])],
            [numpy_helper.from_array(array, "w")],
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(proto, tmp_path / f"{name}.onnx", save_as_external_data=name == "b", location="w.bin")
        array[0, 50_000] = 2
    found = diff(tmp_path / "a.onnx", tmp_path / "b.onnx", samples=0)
    assert [change.max_abs for change in found.weights] == [1.0]
    assert found.verdict == "different"


def test_a_changed_attribute_is_named_and_what_follows_is_only_carried(first: Path, edited: Edited) -> None:
    epsilon = helper.make_attribute("epsilon", 0.5)
    found = diff(first, edited(lambda proto: node(proto, "norm0").attribute.append(epsilon)), samples=0)
    (change,) = found.changed
    assert (change.node, change.op_type) == ("norm0", "BatchNormalization")
    assert [(one.what, one.before, one.after) for one in change.changes] == [("attribute epsilon", None, "0.5")]
    assert (found.equal, found.carried) == (1, 7)


def test_what_graphopt_fused_is_told_by_its_provenance(first: Path, tmp_path: Path) -> None:
    graphopt.optimize(first, recipe='[[pass]]\nname = "fuse-conv-bn"', output=tmp_path / "fused.onnx")
    found = diff(first, tmp_path / "fused.onnx")
    assert (found.verdict, found.outputs.status) == ("same", "rounding")
    assert [(group.before, group.operators_after, group.by) for group in found.rewritten] == [
        (("conv0", "norm0"), ("Conv",), "fuse-conv-bn/conv-bn"),
        (("conv1", "norm1"), ("Conv",), "fuse-conv-bn/conv-bn"),
    ]
    assert (found.removed, found.added) == ((), ())


def test_what_another_tool_fused_is_found_without_provenance_or_names(first: Path, tmp_path: Path) -> None:
    graphopt.optimize(first, recipe='[[pass]]\nname = "fuse-conv-bn"', output=tmp_path / "fused.onnx")
    proto = onnx.load(tmp_path / "fused.onnx")
    for one in proto.graph.node:
        del one.metadata_props[:]
    renamed(proto, seed=3)
    onnx.save(proto, tmp_path / "fused.onnx")
    found = diff(first, tmp_path / "fused.onnx")
    assert found.verdict == "same"
    told = [(group.operators_before, group.operators_after, group.by) for group in found.rewritten]
    assert told == [(("Conv", "BatchNormalization"), ("Conv",), "")] * 2


def test_an_inserted_node_is_added_and_a_missing_one_removed(first: Path, edited: Edited) -> None:
    def insert(proto: onnx.ModelProto) -> None:
        node(proto, "flat").input[0] = "twice"
        proto.graph.node.insert(7, helper.make_node("Abs", ["p"], ["twice"], "abs"))

    found = diff(first, edited(insert))
    assert [(one.node, one.op_type) for one in found.added] == [("abs", "Abs")]
    assert found.removed == ()
    back = diff(edited(insert), first)
    assert [(one.node, one.op_type) for one in back.removed] == [("abs", "Abs")]
    assert (found.verdict, found.outputs.status) == ("same", "identical")  # a mean of what Relu made is not negative


def test_codes_are_compared_as_the_numbers_that_they_stand_for(first: Path, edited: Edited) -> None:
    def quantize(proto: onnx.ModelProto) -> None:
        array = numpy_helper.to_array(weight(proto, "wg"))
        scale = np.float32(np.abs(array).max() / 127)
        codes = np.clip(np.round(array / scale), -128, 127).astype(np.int8)
        weight(proto, "wg").CopyFrom(numpy_helper.from_array(codes, "wg"))
        proto.graph.initializer.append(numpy_helper.from_array(np.array(scale), "step"))
        node(proto, "gemm").input[1] = "real"
        proto.graph.node.insert(8, helper.make_node("DequantizeLinear", ["wg", "step"], ["real"], "dq"))

    found = diff(first, edited(quantize), samples=0)
    assert [one.op_type for one in found.added] == ["DequantizeLinear"]
    (change,) = found.weights
    assert change.max_rel is not None
    assert 0 < change.max_rel <= 0.5 / 127 * 1.001
    assert change.sqnr_db is not None
    assert 30 < change.sqnr_db < 60


def test_a_fixed_batch_narrows_the_signature_but_is_no_other_model(first: Path, edited: Edited) -> None:
    def fix(proto: onnx.ModelProto) -> None:
        for value in (*proto.graph.input, *proto.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 2

    found = diff(first, edited(fix))
    assert found.verdict == "same"
    assert found.outputs.sizes == {"x": (2, 3, 8, 8)}
    assert {change.what for change in found.model} == {"input x", "output y"}


def test_models_without_common_inputs_are_different_and_nothing_fails(first: Path, edited: Edited) -> None:
    def rename(proto: onnx.ModelProto) -> None:
        proto.graph.input[0].name = "image"
        node(proto, "conv0").input[0] = "image"

    found = diff(first, edited(rename))
    assert (found.verdict, found.outputs.status) == ("different", "unknown")
    assert "image" in found.reason


def test_a_size_that_neither_model_knows_is_refused(first: Path) -> None:
    with pytest.raises(UserError, match="height"):
        diff(first, first, dims={"height": 3})


def test_control_flow_is_compared_inside(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
        g (bool c, float[2] x) => (float[2] y) {{
            y = If(c) <then_branch = t () => (float[2] p) {{ p = {0}(x) }},
                       else_branch = e () => (float[2] q) {{ q = Neg(x) }}>
        }}"""
    for name, op in (("a", "Abs"), ("b", "Relu")):
        onnx.save(onnx.parser.parse_model(text.format(op)), tmp_path / f"{name}.onnx")
    found = diff(tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert found.verdict == "different"
    told = [(group.operators_before, group.operators_after) for group in found.rewritten]
    assert told == [(("Abs",), ("Relu",))]


def test_the_page_stands_alone_and_escapes_what_models_say(first: Path, edited: Edited) -> None:
    def mark(proto: onnx.ModelProto) -> None:
        one = node(proto, "norm0")
        one.name = "<script>alert(1)</script>"
        one.attribute.append(helper.make_attribute("epsilon", 0.5))

    page = render_html(diff(edited(mark), first, samples=1))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http://" not in page
    assert "https://" not in page


def test_the_json_is_json(first: Path, edited: Edited) -> None:
    beta = helper.make_attribute("beta", 2.0)
    found = diff(first, edited(lambda proto: node(proto, "gemm").attribute.append(beta)), samples=0)
    data: dict[str, Any] = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert data["schema"] == "graphopt.diff/1"
    assert data["changed"][0]["node"] == "gemm"
