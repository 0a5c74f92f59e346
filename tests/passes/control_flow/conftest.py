"""What the tests of control flow share: a pass keeps every output, bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphopt.ir import load, to_proto
from graphopt.ir.edit import nodes_of, owners
from graphopt.verify import run

Feeds = Mapping[str, np.ndarray]


def ops(model: ir.Model) -> list[str]:
    """Operators of all graphs, without Constant."""
    return [n.op_type for owner in owners(model) for n in nodes_of(owner) if n.op_type != "Constant"]


@pytest.fixture(scope="session")
def same(apply: Callable[..., ir.Model]) -> Callable[..., list[str]]:
    """Apply a pass, compare outputs on samples bit by bit, check signature and model; returns the operators left."""

    def check(name: str, source: str | onnx.ModelProto, samples: Sequence[Feeds], **options: Any) -> list[str]:
        proto = onnx.parser.parse_model(source) if isinstance(source, str) else source
        before, after = load(proto), apply(name, proto, **options)
        made = to_proto(after)
        onnx.checker.check_model(made, full_check=True)
        for kind in ("input", "output"):
            told = [[v.SerializeToString() for v in getattr(model.graph, kind)] for model in (to_proto(before), made)]
            assert told[0] == told[1]
        for expected, actual in zip(run(before, samples), run(after, samples), strict=True):
            assert expected.keys() == actual.keys()
            for key, array in expected.items():
                assert array.dtype == actual[key].dtype
                assert array.shape == actual[key].shape
                assert array.tobytes() == actual[key].tobytes(), key
        return ops(after)

    return check
