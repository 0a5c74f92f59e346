"""The larger forms that some vendors take an operator in only."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from graphopt.ir.infer import infer_shapes
from graphopt.support.patterns import PATTERNS, pattern
from graphopt.support.sweep_patterns import patterned

NUMBERS = "float r = {1.4142135}, float q = {0.70710678}, float one = {1}, float half = {0.5}, float two = {2}"
SIZES = "int64[6] s = {1,2,7,2,7,8}, int64[4] t = {4,7,7,8}"


def of(op_type: str, body: str, signature: str, stored: str) -> str:
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {signature} <{stored}> {{ {body} }}')
    model = ir.from_proto(proto)
    infer_shapes(model)
    return pattern(next(node for node in model.graph if node.op_type == op_type))


@pytest.mark.parametrize(
    ("body", "form"),
    [
        ("d = Div(x, r) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)", "gelu"),
        ("h = Mul(half, x) d = Mul(x, q) e = Erf(d) a = Add(one, e) y = Mul(a, h)", "gelu"),
        ("d = Mul(x, q) e = Erf(d) a = Add(e, one) h = Mul(half, a) y = Mul(h, x)", "gelu"),
        ("d = Mul(q, x) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)", "gelu, constant first"),
        ("d = Div(x, two) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)", "gelu with other constants"),
        ("d = Div(r, x) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)", "none"),
        ("d = Div(x, r) e = Erf(d) a = Add(e, one) m = Mul(d, a) y = Mul(m, half)", "none"),
        ("d = Div(x, r) e = Erf(d) a = Add(e, one) m = Mul(x, a) n = Mul(m, half) y = Add(n, e)", "none"),
        ("y = Erf(x)", "none"),
    ],
)
def test_a_gelu_is_known_in_every_order_of_its_products(body: str, form: str) -> None:
    assert of("Erf", body, "(float[2,3] x) => (float[2,3] y)", NUMBERS) == form


def test_a_gelu_whose_middle_is_an_output_is_none() -> None:
    body = "d = Div(x, r) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)"
    assert of("Erf", body, "(float[2,3] x) => (float[2,3] y, float[2,3] a)", NUMBERS) == "none"


@pytest.mark.parametrize(
    ("body", "form"),
    [
        ("a = Reshape(x, s) b = Transpose<perm = [0,1,3,2,4,5]>(a) y = Reshape(b, t)", "reordered around a unit axis"),
        ("a = Reshape(x, s) b = Transpose<perm = [1,0,3,2,4,5]>(a) y = Reshape(b, t)", "reordered"),
        ("a = Reshape(x, s) b = Transpose<perm = [0,1,3,2,4,5]>(a) c = Abs(b) y = Reshape(c, t)", "none"),
        ("a = Reshape(x, s) b = Transpose<perm = [0,1,3,2,4,5]>(a) c = Reshape(a, t) d = Reshape(b, t) y = Add(c, d)",
         "none"),
    ],
)  # fmt: skip
def test_a_reordering_is_known_from_its_middle(body: str, form: str) -> None:
    assert of("Transpose", body, "(float[1,14,14,8] x) => (float[4,7,7,8] y)", SIZES) == form


def test_reshapes_in_a_row_are_known_from_either() -> None:
    signature = "(float[1,14,14,8] x) => (float[4,7,7,8] y)"
    assert of("Reshape", "a = Reshape(x, s) y = Reshape(a, t)", signature, SIZES) == "reshaped twice"


def test_every_form_is_probed_and_every_probe_tells_its_form() -> None:
    seen: dict[str, set[object]] = {}
    for probe in patterned():
        seen.setdefault(probe.op_type, set()).add(probe.facts["pattern"])
    assert seen == {op_type: set(forms) for op_type, forms in PATTERNS.items()}
