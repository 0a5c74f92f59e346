"""convert-opset:least=N raises what is older and leaves what is newer."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import pytest

Apply = Callable[..., ir.Model]


@pytest.mark.parametrize(("own", "after"), [(17, 20), (20, 20), (21, 21)])
def test_an_older_model_is_raised_and_a_newer_one_stays(apply: Apply, own: int, after: int) -> None:
    source = f'<ir_version: 9, opset_import: ["": {own}]> g (float[2] x) => (float[2] y) {{ y = Relu (x) }}'
    assert apply("convert-opset", source, least=20).opset_imports[""] == after


def test_a_target_goes_before_the_least(apply: Apply) -> None:
    source = '<ir_version: 9, opset_import: ["": 17]> g (float[2] x) => (float[2] y) { y = Relu (x) }'
    assert apply("convert-opset", source, target=13, least=20).opset_imports[""] == 13
