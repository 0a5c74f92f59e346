"""Sizes of symbolic dimensions: what the user may write, and what is chosen without them."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from graphopt.errors import UserError
from graphopt.verify import check_dims, concrete_shapes, parse_dims

HEADER = '<ir_version: 9, opset_import: ["": 17]>\n'
PAIR = HEADER + "g (float[batch, 3, h, w] image, int64[batch, seq] ids) => (float[batch, 3, h, w] y) {y = Relu(image)}"


def model(text: str) -> ir.Model:
    return ir.from_onnx_text(text)


def anonymous() -> ir.Model:
    """Like PP-OCR's classifier: dimensions written as -1, "?" and nothing."""
    x = ir.val("x", ir.DataType.FLOAT, ir.Shape([-1, 3, "?", None]))
    node = ir.node("Relu", [x])
    return ir.Model(ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 17}), ir_version=9)


def test_texts_give_sizes_and_whole_shapes_even_where_a_name_holds_the_equals_sign() -> None:
    assert parse_dims(["batch=2", "x=1x3x48x192", "a=b=4"]) == {"batch": 2, "x": (1, 3, 48, 192), "a=b": 4}


@pytest.mark.parametrize("text", ["batch", "=3", "batch=", "batch=-1", "batch=1x", "batch=two"])
def test_a_text_that_is_no_dimension_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="write batch=1"):
        parse_dims([text])


def test_one_name_with_two_sizes_is_refused() -> None:
    with pytest.raises(UserError, match="twice"):
        parse_dims(["batch=1", "batch=2"])


def test_the_same_name_has_the_same_size_in_every_input() -> None:
    shapes = concrete_shapes(model(PAIR), {"batch": 5, "seq": 7})
    assert shapes["image"][:2] == (5, 3)
    assert shapes["ids"] == (5, 7)


def test_a_whole_shape_settles_the_names_in_it_for_the_other_inputs() -> None:
    assert concrete_shapes(model(PAIR), {"image": (4, 3, 8, 9)}) == {"image": (4, 3, 8, 9), "ids": (4, 16)}


def test_defaults_suit_a_batch_an_image_and_a_sequence() -> None:
    assert concrete_shapes(model(PAIR)) == {"image": (1, 3, 224, 224), "ids": (1, 16)}


def test_dimensions_without_a_name_follow_the_question_mark_but_the_batch_stays_one() -> None:
    assert concrete_shapes(anonymous()) == {"x": (1, 3, 224, 224)}
    assert concrete_shapes(anonymous(), {"?": 48}) == {"x": (1, 3, 48, 48)}


def test_channels_last_images_are_recognized() -> None:
    text = HEADER + "g (float[n, a, b, 3] x) => (float[n, a, b, 3] y) { y = Relu(x) }"
    assert concrete_shapes(model(text)) == {"x": (1, 224, 224, 3)}


def test_a_weight_decides_the_size_of_the_axis_that_it_contracts() -> None:
    text = HEADER + "g (float[n, k] x) => (float[n, 2] y) <float[5, 2] w = {1,2,3,4,5,6,7,8,9,10}> { y = MatMul(x, w) }"
    assert concrete_shapes(model(text)) == {"x": (1, 5)}


def test_inputs_with_a_default_value_need_no_shape() -> None:
    text = HEADER + "g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }"
    assert list(concrete_shapes(model(text))) == ["x"]


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ({"bacth": 1}, "did you mean 'batch'"),
        ({"zzz": 1}, "it has batch"),
        ({"image": (1, 4, 8, 8)}, "does not fit"),
        ({"image": (1, 3, 8)}, "does not fit"),
        ({"seq": (1, 2)}, "not an input"),
    ],
)
def test_dimensions_that_do_not_fit_the_model_are_explained(dims: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_dims(model(PAIR), dims)


def test_an_input_without_a_shape_asks_for_one() -> None:
    x = ir.val("x", ir.DataType.FLOAT, None)
    node = ir.node("Relu", [x])
    shapeless = ir.Model(ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 17}), ir_version=9)
    with pytest.raises(UserError, match="--dim x="):
        concrete_shapes(shapeless)
    assert concrete_shapes(shapeless, {"x": (2, 2)}) == {"x": (2, 2)}
