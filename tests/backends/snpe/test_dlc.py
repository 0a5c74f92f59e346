"""The .dlc reader, on files that QNN itself wrote."""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path

import onnx.parser
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphopt_backends.snpe.backend import SnpeBackend
from graphopt_backends.snpe.dlc import DlcError, read

GRAPH = """<ir_version: 9, opset_import: ["": 17]>
g (float[1, 8] x) => (float[1, 8] z) { y = Tanh(x) [total] z = Add(y, x) }"""


@pytest.fixture(scope="module")
def written(backend: SnpeBackend, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dlc")
    onnx.save(onnx.parser.parse_model(GRAPH), folder / "m.onnx")
    result = backend.compile(folder / "m.onnx", folder / "m.dlc")
    assert result.artifact is not None
    return result.artifact


def test_ops_are_read_in_order_with_their_tensors(written: Path) -> None:
    [graph] = read(written).graphs
    assert [op.type for op in graph.ops] == ["Neuron", "Eltwise_Binary"]
    assert "x" in graph.ops[0].inputs
    assert graph.ops[0].outputs[0] in graph.ops[1].inputs
    assert graph.ops[1].outputs == ("z",)
    assert graph.histogram() == {"Neuron": 1, "Eltwise_Binary": 1}


def test_the_file_names_the_qairt_that_wrote_it(written: Path) -> None:
    content = read(written)
    assert int(content.converter.split(".")[0]) >= 2
    assert content.members["model"] > 0


def test_python_zipfile_would_take_it_for_damaged(written: Path) -> None:
    # The reason that this reader exists; should QNN start to write checksums, it can become simpler.
    with zipfile.ZipFile(written) as archive, pytest.raises(zipfile.BadZipFile, match="CRC"):
        archive.read("model")


def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.dlc"
    file.write_bytes(b"no zip")
    with pytest.raises(DlcError, match=r"x\.dlc"):
        read(file)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_a_dlc_error_or_harmless(data: st.DataObject, written: Path, tmp_path: Path) -> None:
    raw = bytearray(written.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    damaged = tmp_path / "damaged.dlc"
    damaged.write_bytes(raw[: data.draw(st.integers(len(raw) // 2, len(raw)))])
    with contextlib.suppress(DlcError):
        read(damaged)
