"""Whatever a file holds, load answers with a model or with one line that says what is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper, parser

from graphopt.errors import ModelError
from graphopt.ir import infer_shapes, load, to_bytes

HEADER = '<ir_version: 9, opset_import: ["": 17]>\n'
SMALL = (
    HEADER
    + """
g (float[N, 2] x, bool p) => (float[N, 2] y) <float[2] w = {1, 2}>
{
  a = Add (x, w)
  y = If (p) <
    then_branch = t () => (float[N, 2] b) { b = Relu (a) },
    else_branch = e () => (float[N, 2] c) { c = Neg (a) }
  >
}
"""
)


def bytes_of(text: str) -> bytes:
    return parser.parse_model(text).SerializeToString()


def refusal(source: object) -> str:
    """The one line with which load refuses."""
    with pytest.raises(ModelError) as caught:
        load(source)  # type: ignore[arg-type]
    assert_one_line(caught.value)
    return str(caught.value)


def assert_one_line(error: ModelError) -> None:
    assert len(str(error).splitlines()) == 1


def external(folder: Path, location: str, *, offset: int | str = 0, length: int | str | None = 16) -> Path:
    """A model whose weight of 16 bytes lies at `location`."""
    tensor = numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="offset", value=str(offset))
    if length is not None:
        tensor.external_data.add(key="length", value=str(length))
    info = [helper.make_tensor_value_info(name, 1, [4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", info[:1], info[1:], [tensor])
    file = folder / "m.onnx"
    file.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    return file


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    assert refusal(tmp_path / "m.onnx").endswith("m.onnx: is empty")
    assert refusal(b"") == "is empty"


def test_a_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffdb") + bytes(range(256)))
    assert "not an ONNX model" in refusal(tmp_path / "m.onnx")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none.onnx")
    assert "is a folder" in refusal(tmp_path)


@pytest.mark.parametrize("suffix", [".json", ".onnxjson", ".textproto", ".onnxtxt", ".onnx"])
@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"hello", b"{}", b"<>", b"graph { node { op_type: 3 } }"])
def test_no_text_format_raises_anything_else(tmp_path: Path, suffix: str, content: bytes) -> None:
    file = tmp_path / f"m{suffix}"
    file.write_bytes(content)
    refusal(file)


@pytest.mark.parametrize("suffix", ["json", "textproto", "onnxtxt"])
def test_the_text_formats_load(tmp_path: Path, suffix: str) -> None:
    onnx.save(parser.parse_model(SMALL), tmp_path / f"m.{suffix}")
    assert [node.op_type for node in load(tmp_path / f"m.{suffix}").graph] == ["Add", "If"]


@given(st.integers(0, len(bytes_of(SMALL)) - 1))
@settings(max_examples=100, deadline=None)
def test_a_truncated_model_is_refused_or_lacks_nothing_that_matters(end: int) -> None:
    try:
        model = load(bytes_of(SMALL)[:end])
    except ModelError as error:
        assert_one_line(error)
    else:
        to_bytes(model)


@given(st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_flipped_bytes_never_raise_anything_but_a_model_error(data: st.DataObject) -> None:
    content = bytearray(bytes_of(SMALL))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        model = load(bytes(content))
        to_bytes(model)
    except ModelError as error:
        assert_one_line(error)
    else:
        infer_shapes(model)


OUTSIDE = {
    "up": ("../../etc/passwd", "outside the model's folder"),
    "up and in": ("sub/../../secret", "outside the model's folder"),
    "absolute": ("/etc/passwd", "absolute path"),
    "missing": ("none.data", "is missing"),
    "folder": (".", "is missing"),
    "empty": ("", "is missing"),
    "nul": ("a\0b", "absolute path"),
    "too long": ("a" * 5000, "cannot be read"),
    "link out": ("link", "outside the model's folder"),
    "loop of links": ("loop", "cannot be read"),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_external_data_stay_in_the_models_folder(tmp_path: Path, case: str) -> None:
    location, reason = OUTSIDE[case]
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(64))
    os.symlink(tmp_path / "secret", folder / "link")
    os.symlink(folder / "loop", folder / "loop")
    message = refusal(external(folder, location))
    assert reason in message
    assert "'w'" in message


@pytest.mark.parametrize(
    ("offset", "length"),
    [(1, 16), (-1, 16), (-(10**30), 16), (10**30, 16), (2**63, None), (0, 15), ("x", 16), (0, -5), (0, "y")],
)
def test_external_data_that_do_not_fit_are_refused(tmp_path: Path, offset: int | str, length: int | str | None) -> None:
    (tmp_path / "w.data").write_bytes(bytes(16))
    refusal(external(tmp_path, "w.data", offset=offset, length=length))


def test_external_data_within_the_folder_are_read(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.data").write_bytes(bytes(3) + np.arange(4, dtype=np.float32).tobytes())
    os.symlink(tmp_path / "sub" / "w.data", tmp_path / "link")
    for location in ("sub/w.data", "sub/../sub/w.data", "link"):
        model = load(external(tmp_path, location, offset=3, length=None))
        assert model.graph.initializers["w"].const_value.numpy().tolist() == [0, 1, 2, 3]


def test_external_data_in_a_body_of_a_function_are_contained_as_well(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/passwd")
    info = helper.make_tensor_value_info("b", 1, [4])
    body = helper.make_graph([helper.make_node("Identity", ["w"], ["b"])], "t", [], [info], [weight])
    branch = helper.make_node("If", ["p"], ["y"], then_branch=body, else_branch=body)
    function = helper.make_function("my", "f", ["p"], ["y"], [branch], [helper.make_opsetid("", 17)])
    graph = helper.make_graph(
        [helper.make_node("f", ["p"], ["y"], domain="my")], "g",
        [helper.make_tensor_value_info("p", 9, [])], [helper.make_tensor_value_info("y", 1, [4])],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, functions=[function]), tmp_path / "m.onnx")
    assert "absolute path" in refusal(tmp_path / "m.onnx")


def test_external_data_need_a_path(tmp_path: Path) -> None:
    assert "load the model by its path" in refusal(external(tmp_path, "w.data").read_bytes())


def node(op_type: str, inputs: list[str], outputs: list[str], name: str = "") -> onnx.NodeProto:
    return helper.make_node(op_type, inputs, outputs, name=name)


def graph_of(nodes: list[onnx.NodeProto], change: Callable[[onnx.ModelProto], object] = lambda m: None) -> bytes:
    info = [helper.make_tensor_value_info(name, 1, [4]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "g", info[:1], info[1:]), opset_imports=[helper.make_opsetid("", 17)]
    )
    change(model)
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (graph_of([node("Relu", ["z"], ["y"], "r")]), ["'z'", "nothing makes", "'r'"]),
        (graph_of([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Neg", ["b"], ["y"])]), ["cycle"]),
        (graph_of([node("Relu", ["a"], ["a"]), node("Relu", ["x"], ["y"])]), ["cycle"]),
        (graph_of([node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])]), ["'y'"]),
        (graph_of([node("Relu", ["y"], ["x"])]), ["'x'"]),
        (graph_of([node("Relu", ["x"], ["z"])]), ["'y'", "made by nothing"]),
        (graph_of([node("Relu", ["x"], ["y"])], lambda m: m.ClearField("opset_import")), ["opset"]),
        (graph_of([node("Relu", ["x"], ["y"])], lambda m: m.ClearField("graph")), ["no graph"]),
        (graph_of([node("Relu", ["x"], ["y"])], lambda m: m.graph.input.append(m.graph.input[0])), ["'x'", "twice"]),
    ],
    ids=[
        "dangling", "cycle", "cycle of one", "made twice", "makes an input", "no output", "no opset", "no graph",
        "input twice",
    ],
)  # fmt: skip
def test_a_graph_that_is_not_sound_is_refused(source: bytes, words: list[str]) -> None:
    message = refusal(source)
    assert all(word in message for word in words), message


def test_a_name_made_again_in_a_body_is_refused() -> None:
    text = SMALL.replace("b = Relu (a)", "a = Relu (x) b = Neg (a)")
    assert "'a'" in refusal(bytes_of(text))


def test_nodes_out_of_order_are_put_in_order() -> None:
    model = load(graph_of([node("Relu", ["a"], ["y"]), node("Neg", ["x"], ["a"])]))
    assert [n.op_type for n in model.graph] == ["Neg", "Relu"]


def test_an_unknown_domain_is_accepted() -> None:
    text = '<ir_version: 9, opset_import: ["": 17, "vendor": 3]> g (float[4] x) => (y) { y = vendor.Odd <a = 1> (x) }'
    model = load(bytes_of(text))
    assert (model.graph[0].domain, model.graph[0].op_type) == ("vendor", "Odd")
    infer_shapes(model)


def test_a_body_that_reads_what_is_made_around_it_is_sound() -> None:
    assert load(bytes_of(SMALL)).graph.num_nodes() == 2
