"""Windows and images in forms that the rules' own examples do not draw: old operator sets, odd ranks, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.ir import infer_shapes, load
from graphopt.rewrite import apply_rules
from graphopt.testing import registered_rules
from graphopt.verify import generate, run

RULES = {str(one): one.rule for one in registered_rules()}
NEAREST, MATMUL = "decompose-resize/nearest-by-gather", "decompose-resize/resize-by-matmul"
LINEAR = {"mode": "linear"}


def one_node(op_type: str, opset: int, shape: list[Any], given: list[Any], **attributes: Any) -> onnx.ModelProto:
    """A model of one node that reads x and these constants; None is an input left out."""
    constants = [(f"c{index}", np.array(one)) for index, one in enumerate(given) if one is not None]
    names = ["x", *(f"c{index}" if one is not None else "" for index, one in enumerate(given))]
    graph = helper.make_graph(
        [helper.make_node(op_type, names, ["y"], **attributes)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(a.astype(np.float32) if a.dtype.kind == "f" else a, n) for n, a in constants],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def rewritten(proto: onnx.ModelProto, rule: str) -> tuple[ir.Model, Any]:
    changed = load(proto)
    infer_shapes(changed)
    return changed, apply_rules(changed, [RULES[rule]], explain=[RULES[rule].name])


@pytest.mark.parametrize(
    ("op_type", "opset", "shape", "given", "attributes", "rule"),
    [
        ("Upsample", 7, [1, 2, 3, 4], [], {"mode": "nearest", "scales": [1.0, 1.0, 2.0, 3.0]}, NEAREST),
        ("Upsample", 8, [1, 2, 3, 4], [], {"mode": "linear", "scales": [1.0, 1.0, 2.0, 3.0]}, MATMUL),
        ("Upsample", 9, [1, 2, 3, 4], [[1.0, 1.0, 1.5, 2.0]], {}, NEAREST),
        ("Resize", 10, [1, 2, 6, 4], [[1.0, 1.0, 0.5, 0.6]], {}, NEAREST),
        ("Resize", 10, [1, 2, 6, 4], [[1.0, 1.0, 1.5, 0.6]], LINEAR, MATMUL),
        ("Resize", 13, [1, 2, 5], [None, [1.0, 1.0, 1.6]], {}, NEAREST),
        ("Resize", 13, [1, 2, 3, 4, 5], [None, [1.0, 1.0, 2.0, 0.5, 1.4]], LINEAR, MATMUL),
        ("Resize", 13, [1, 4, 5, 3], [None, [1.0, 2.0, 1.4, 1.0]], LINEAR, MATMUL),
        ("Resize", 18, [1, 2, 4, 6], [None, None, [7, 9]], {"axes": [3, 2]}, NEAREST),
        (
            "Resize", 18, [1, 2, 4, 6], [None, None, [7, 9]],
            LINEAR | {"axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"}, MATMUL,
        ),
        (
            "Resize", 18, [1, 2, 4, 6], [None, None, [7, 9]],
            {"axes": [2, 3], "keep_aspect_ratio_policy": "not_smaller"}, NEAREST,
        ),
    ],
)  # fmt: skip
def test_resizing_is_the_same_in_every_operator_set(
    op_type: str, opset: int, shape: list[int], given: list[Any], attributes: dict[str, Any], rule: str
) -> None:
    proto = one_node(op_type, opset, shape, given, **attributes)
    changed, outcome = rewritten(proto, rule)
    assert outcome.rewrites, outcome.misses
    samples = generate(load(proto), samples=1)
    (expected,), (actual,) = run(load(proto), samples), run(changed, samples)
    assert expected["y"].shape == actual["y"].shape
    np.testing.assert_allclose(actual["y"], expected["y"], rtol=1e-4, atol=1e-5)


def test_a_crop_at_a_scale_of_one_is_refused_since_runtimes_do_not_crop_there() -> None:
    region, scales = [0.0, 0.0, 0.2, 0.0, 1.0, 1.0, 0.8, 1.0], [1.0, 1.0, 1.0, 2.0]
    proto = one_node(
        "Resize", 13, [1, 1, 4, 4], [region, scales], mode="linear", coordinate_transformation_mode="tf_crop_and_resize"
    )
    _, outcome = rewritten(proto, MATMUL)
    assert not outcome.rewrites
    assert "no region is cropped at a scale of 1" in outcome.misses[0].reason


def test_windows_over_an_unknown_size_are_refused() -> None:
    proto = one_node("AveragePool", 13, [1, 1, 4, "h"], [], kernel_shape=[2, 2])
    _, outcome = rewritten(proto, "decompose-average-pool/average-by-conv")
    assert not outcome.rewrites
    assert "the sizes of its input are known" in outcome.misses[0].reason


def test_regions_that_are_turned_inside_out_are_refused() -> None:
    proto = one_node(
        "RoiAlign", 16, [1, 1, 4, 4], [[[3.0, 3.0, 1.0, 1.0]], [0]], output_height=2, output_width=2, sampling_ratio=0
    )
    _, outcome = rewritten(proto, "decompose-roi/align-by-matmul")
    assert not outcome.rewrites
    assert "turned inside out" in outcome.misses[0].reason


def test_places_of_a_maximum_may_count_down_the_columns(apply: Callable[..., ir.Model]) -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 13]> g (float[1,2,4,5] x) => (float[1,2,3,4] y, int64[1,2,3,4] i)'
        "{ y, i = MaxPool <kernel_shape = [2, 2], storage_order = 1> (x) }"
    )
    changed = apply("decompose-max-pool", proto)
    assert "MaxPool" not in {node.op_type for node in changed.graph}
    samples = generate(load(proto), samples=1)
    (expected,), (actual,) = run(load(proto), samples), run(changed, samples)
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array)
