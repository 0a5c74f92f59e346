"""Nothing is lost between load and save, of all models that the onnx package has and of one that uses every field."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.backend.test.loader import TestCase

from graphopt.errors import ModelError
from graphopt.ir import load, save, to_proto

Canonical = Callable[[Any], dict[str, Any]]


def kitchen_sink() -> onnx.ModelProto:
    """A model that says something in every field that ONNX has for it."""

    def tag(message: Any, key: str) -> None:
        message.metadata_props.add(key=key, value=f"value of {key}")

    weight = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    weight.doc_string = "weights"
    add = helper.make_node("Add", ["x", "w"], ["y"], name="n", doc_string="adds")
    call = helper.make_node("f", ["y"], ["z"], name="call", domain="my", overload="o1", alpha=2.0)
    custom = helper.make_node(
        "Anything", ["", "y", ""], ["", "u"], domain="my",
        i=1, ints=[1, 2], f=1.5, floats=[1.5], s="s", strings=["a", "b"],
        tensor=numpy_helper.from_array(np.zeros(2, np.int64), "t"), type=helper.make_tensor_type_proto(1, ["N", 2]),
        tensors=[numpy_helper.from_array(np.array([b"a"], object), "ts")],
    )  # fmt: skip
    custom.attribute.add(name="none", type=onnx.AttributeProto.INTS)
    custom.attribute.add(name="documented", type=onnx.AttributeProto.INT, i=3, doc_string="an attribute")
    inner = [helper.make_tensor_value_info("b", 1, ["N", 2])]
    described = helper.make_graph(
        [helper.make_node("Add", ["y", "c"], ["b"])], "then", [], inner,
        [numpy_helper.from_array(np.ones(2, np.float32), "c")],
        value_info=[helper.make_tensor_value_info("c", 1, [2])],
    )  # fmt: skip
    plain = helper.make_graph(
        [helper.make_node("Sub", ["y", "d"], ["e"])], "else", [], [helper.make_tensor_value_info("e", 1, ["N", 2])],
        [numpy_helper.from_array(np.ones(2, np.float32), "d")],
    )  # fmt: skip
    branch = helper.make_node("If", ["p"], ["v"], then_branch=described, else_branch=plain)
    x = helper.make_tensor_value_info("x", 1, ["N", 2], doc_string="an image")
    x.type.denotation = "IMAGE"
    x.type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    sequence = helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, ["A", None]))
    optional = helper.make_optional_type_proto(helper.make_tensor_type_proto(7, None))
    inputs = [
        x, helper.make_tensor_value_info("p", 9, []),
        helper.make_tensor_value_info("w", 1, [2, 2], doc_string="default"),
        helper.make_value_info("s", sequence), helper.make_value_info("o", optional),
        helper.make_tensor_value_info("strange", 1, ["?", -1, "", 0, None]),
    ]  # fmt: skip
    outputs = [
        helper.make_tensor_value_info("z", 1, ["N", None]), helper.make_tensor_value_info("v", 1, None),
        helper.make_tensor_value_info("u", 0, None),
    ]  # fmt: skip
    values = [helper.make_tensor_value_info("y", 1, ["N", 2], doc_string="inside")]
    graph = helper.make_graph([add, call, custom, branch], "g", inputs, outputs, [weight], "a graph", values)
    note = graph.quantization_annotation.add(tensor_name="y")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="w")
    body = helper.make_node("LeakyRelu", ["a"], ["b"])
    body.attribute.add(name="alpha", ref_attr_name="alpha", type=onnx.AttributeProto.FLOAT)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
    function = helper.make_function("my", "f", ["a"], ["b"], [body], opsets[:1], ["alpha"], doc_string="a function")
    function.overload = "o1"
    function.attribute_proto.append(helper.make_attribute("beta", 1.5))
    function.value_info.append(helper.make_tensor_value_info("b", 1, [2]))
    model = helper.make_model(
        graph, opset_imports=opsets, functions=[function], ir_version=10, producer_name="p", producer_version="1",
        doc_string="a model",
    )  # fmt: skip
    model.domain, model.model_version = "d", 3
    model.training_info.add().algorithm.name = "training"
    for number, message in enumerate((model, graph, add, x, values[0], weight, function, graph.node[0])):
        tag(message, f"k{number}")
    tag(model.graph, "later")
    tag(model.graph.node[1], "call")
    tag(model.graph.initializer[0], "w")
    tag(model.functions[0], "f")
    return model


def difference(before: onnx.ModelProto, after: onnx.ModelProto, canonical: Canonical) -> str | None:
    """The first part that differs, as text."""
    waiting: list[tuple[str, Any, Any]] = [("model", canonical(before), canonical(after))]
    while waiting:
        where, a, b = waiting.pop()
        if isinstance(a, dict) and isinstance(b, dict):
            waiting.extend((f"{where}.{key}", a.get(key), b.get(key)) for key in a.keys() | b.keys())
        elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            waiting.extend((f"{where}[{i}]", x, y) for i, (x, y) in enumerate(zip(a, b, strict=True)))
        elif a != b and not (a != a and b != b):
            return f"{where}: {a!r:.200} became {b!r:.200}"
    return None


def test_every_node_test_of_onnx_survives(onnx_cases: list[TestCase], canonical: Canonical) -> None:
    lost = {}
    for case in onnx_cases:
        found = difference(case.model, to_proto(load(case.model.SerializeToString())), canonical)
        if found:
            lost[case.name] = found
    assert len(onnx_cases) > 1800
    assert not lost


def test_every_model_file_of_onnx_survives(onnx_files: list[Path], canonical: Canonical, tmp_path: Path) -> None:
    lost = {}
    for file in onnx_files:
        save(load(file), tmp_path / "saved.onnx")
        found = difference(onnx.load(file), onnx.load(tmp_path / "saved.onnx"), canonical)
        if found:
            lost[str(file)] = found
    assert len(onnx_files) > 100
    assert any("light" in str(file) for file in onnx_files)
    assert not lost


@pytest.mark.parametrize("way", ["bytes", "path", "proto"])
def test_every_field_survives(way: str, canonical: Canonical, tmp_path: Path) -> None:
    proto = kitchen_sink()
    file = tmp_path / "m.onnx"
    file.write_bytes(proto.SerializeToString())
    model = load({"bytes": file.read_bytes(), "path": file, "proto": proto}[way])
    save(model, tmp_path / "out.onnx")
    assert difference(proto, onnx.load(tmp_path / "out.onnx"), canonical) is None


def test_device_configurations_survive(canonical: Canonical) -> None:
    proto = kitchen_sink()
    proto.ir_version = 11
    proto.configuration.add(name="two", num_devices=2)
    placed = proto.graph.node[0].device_configurations.add(configuration_id="two")
    placed.sharding_spec.add(tensor_name="x")
    assert difference(proto, to_proto(load(proto)), canonical) is None


def test_a_proto_given_by_the_caller_is_not_changed() -> None:
    proto = kitchen_sink()
    before = proto.SerializeToString(deterministic=True)
    model = load(proto)
    model.graph.initializers["w"].name = "renamed"
    to_proto(model)
    assert proto.SerializeToString(deterministic=True) == before


def test_the_two_names_of_the_default_domain_are_one() -> None:
    proto = helper.make_model(
        helper.make_graph(
            [helper.make_node("Relu", ["x"], ["y"], domain="ai.onnx")], "g",
            [helper.make_tensor_value_info("x", 1, [2])], [helper.make_tensor_value_info("y", 1, [2])],
        ), opset_imports=[helper.make_opsetid("ai.onnx", 17)], ir_version=8,
    )  # fmt: skip
    model = load(proto)
    assert dict(model.graph.opset_imports) == {"": 17}
    assert model.graph[0].domain == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.graph.initializer.append(m.graph.initializer[0]), "'w' is there twice"),
        (lambda m: m.graph.sparse_initializer.add().values.CopyFrom(m.graph.initializer[0]), "'w' is sparse"),
        (lambda m: m.opset_import.append(helper.make_opsetid("ai.onnx", 18)), "versions 17 and 18"),
        (lambda m: setattr(m.graph.initializer[0], "raw_data", b"123"), "holds 3 bytes"),
        (lambda m: m.graph.initializer[0].dims.insert(0, -1), "has the shape"),
        (lambda m: setattr(m.graph.initializer[0], "data_type", 77), "unknown type 77"),
        (lambda m: setattr(m.graph.initializer[0].segment, "begin", 1), "segments"),
        (lambda m: m.graph.input[0].type.map_type.__setattr__("key_type", 7), "Map types are not supported"),
    ],
)
def test_what_the_model_cannot_hold_is_refused_not_dropped(
    change: Callable[[onnx.ModelProto], Any], reason: str
) -> None:
    proto = kitchen_sink()
    change(proto)
    with pytest.raises(ModelError, match=reason):
        load(proto)
