"""What the tests of `graphopt.ir` share: every model that the onnx package has, and a form to compare models in."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx.backend.test.loader import TestCase

UNORDERED = frozenset({
    "attribute", "external_data", "functions", "initializer", "metadata_props", "opset_import",
    "quant_parameter_tensor_names", "quantization_annotation", "value_info",
})  # fmt: skip
"""Repeated fields that are maps: their order says nothing."""


def canonical(message: Any) -> dict[str, Any]:
    """The parts of a message, so that two messages that say the same are equal.

    An empty string, an empty type and a model version of zero are what is meant where the field is absent. Tensors are
    equal by type, shape and bytes, however they are stored.
    """
    if isinstance(message, onnx.TensorProto):
        return _tensor(message)
    parts: dict[str, Any] = {}
    for field, content in message.ListFields():
        if field.message_type is None:
            empty = content in ("", b"") or (field.name == "model_version" and not content)
            if not empty:
                parts[field.name] = _output(list(content)) if field.name == "output" else _plain(content)
        elif isinstance(content, type(message)) or hasattr(content, "ListFields"):
            found = canonical(content)
            if found or field.name != "type":
                parts[field.name] = found
        else:
            items = [canonical(one) for one in content]
            parts[field.name] = sorted(items, key=repr) if field.name in UNORDERED else items
    return parts


def _plain(content: Any) -> Any:
    return content if isinstance(content, str | bytes | int | float) else list(content)


def _output(names: list[str]) -> list[str]:
    # An optional output without a name at the end is one that is not there.
    while names and not names[-1]:
        names.pop()
    return names


def _tensor(tensor: onnx.TensorProto) -> dict[str, Any]:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        data: Any = sorted((e.key, e.value) for e in tensor.external_data)
    else:
        array = onnx.numpy_helper.to_array(tensor)
        data = array.tolist() if array.dtype == object else array.tobytes()
    metadata = sorted((e.key, e.value) for e in tensor.metadata_props)
    return {
        "name": tensor.name, "type": tensor.data_type, "dims": list(tensor.dims), "data": data,
        "doc": tensor.doc_string, "metadata": metadata,
    }  # fmt: skip


@pytest.fixture(scope="session", name="canonical")
def canonical_fixture() -> Callable[[Any], dict[str, Any]]:
    """See `canonical`."""
    return canonical


@functools.cache
def _cases() -> list[TestCase]:
    from onnx.backend.test.case import model, node

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [case for case in (*node.collect_testcases(None), *model.collect_testcases()) if case.model is not None]


@pytest.fixture(scope="session")
def onnx_cases() -> list[TestCase]:
    """The node tests and the simple model tests of the onnx package, with their data."""
    return _cases()


@pytest.fixture(scope="session")
def onnx_files() -> list[Path]:
    """The model files that the onnx package ships: light, simple, and converted from PyTorch."""
    data = Path(onnx.__file__).parent / "backend" / "test" / "data"
    return sorted(data.rglob("*.onnx"))
