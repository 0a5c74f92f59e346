"""Tables from documentation: what they say, that they say so, and that they are not stale."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from graphopt.errors import UserError
from graphopt.ir.infer import infer_shapes
from graphopt.pipeline import make_backend
from graphopt.support.check import check
from graphopt.support.documented import documented
from graphopt.support.table import Table, load, text

BACKENDS = Path(__file__).parents[2] / "backends" / "graphopt_backends"
NAMES = ("tensorrt", "tflite", "snpe")


def tables(name: str) -> dict[str, Table]:
    return documented(BACKENDS / name, make_backend(name).table())


def parse(body: str, signature: str = "(float[1,4,8,8] x) => (float[1,4,8,8] y)", stored: str = "") -> ir.Model:
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g {signature} {f"<{stored}>" if stored else ""} {{ {body} }}'
    )
    model: ir.Model = ir.from_proto(proto)
    infer_shapes(model)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_the_tables_on_disk_are_what_the_facts_give(name: str) -> None:
    made = tables(name)
    on_disk = {file.name: load(file) for file in (BACKENDS / name).glob("table-*.json")}
    stale = "run `make docs`"
    assert {file for file, table in on_disk.items() if table.evidence == "documented"} == made.keys(), stale
    for file, table in made.items():
        assert (BACKENDS / name / file).read_text(encoding="utf-8") == text(table), stale


@pytest.mark.parametrize("name", NAMES)
def test_a_documented_table_says_that_it_is_and_where_it_was_read(name: str) -> None:
    for table in tables(name).values():
        assert table.evidence == "documented"
        assert table.source.startswith("https://")
        assert {row.status for row in table.rows} <= {"documented", "unsupported"}
        assert not any(row.probes or row.verdict.compiled or row.verdict.ran for row in table.rows)
        effects = {condition.effect for row in table.rows for condition in row.require}
        assert effects <= {"documented"}


@pytest.mark.parametrize(("dilations", "taken"), [(1, True), (2, False)])
def test_a_condition_on_a_word_that_is_a_digit_holds(dilations: int, taken: bool) -> None:
    (table,) = tables("tensorrt").values()
    pool = f"y = MaxPool<kernel_shape = [2, 2], dilations = [{dilations}, {dilations}]>(x)"
    assert check(parse(pool, "(float[1,4,8,8] x) => (float[1,4,h,w] y)"), table).ok == taken


def test_tensorrt_documents_operators_that_tensorrt_rtx_was_measured_to_refuse() -> None:
    (table,) = tables("tensorrt").values()
    model = parse("y = NonZero(x)", "(float[4] x) => (int64[1,n] y)")
    assert check(model, table).ok
    assert not check(model, make_backend("tensorrt").table()).ok


def test_a_documented_restriction_is_a_condition_with_its_source() -> None:
    (table,) = tables("tensorrt").values()
    body = "y = MaxPool <kernel_shape = [2, 2], dilations = [2, 2]> (x)"
    (finding,) = check(parse(body, "(float[1,4,8,8] x) => (float[1,4,6,6] y)"), table).findings
    assert finding.reason == "attribute dilations must be 1, found equal"
    assert finding.effect == "documented"
    assert finding.evidence == f"documented for {table.toolchain}, not measured: {table.source}"


def test_a_delegate_takes_only_what_the_lowering_before_it_takes() -> None:
    gpu, measured = tables("tflite")["table-gpu-delegate.json"], make_backend("tflite").table()
    assert gpu.after == measured.toolchain
    model = parse("y = Relu(x)", "(double[1,4,8,8] x) => (double[1,4,8,8] y)")
    assert check(model, gpu).ok
    (finding,) = check(model, gpu, measured).findings
    assert measured.toolchain in finding.evidence


def test_a_delegate_that_lacks_a_builtin_names_it() -> None:
    hexagon = tables("tflite")["table-hexagon.json"]
    (finding,) = check(parse("y = Exp(x)"), hexagon).findings
    assert "it becomes EXP" in finding.evidence


def test_the_edge_tpu_takes_8_bit_integers_only() -> None:
    edge = tables("tflite")["table-edgetpu.json"]
    (finding,) = check(parse("y = Add(x, x)"), edge).findings
    assert finding.reason == "the quantization of its activations must be int8 or uint8, found none"


def test_snpe_runtimes_differ_in_the_layers_they_have() -> None:
    made = tables("snpe")
    model = parse("y = Asin(x)")
    assert check(model, made["table-snpe-cpu.json"]).ok
    (finding,) = check(model, made["table-snpe-gpu.json"]).findings
    assert "ElementWiseAsin" in finding.evidence


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('column = "tensorrt"', 'column = "tensort"', "there is no column 'tensort'"),
        ("attr.dilations=1", "attr.dilations", "cannot be read: write it as fact=value"),
    ],
)
def test_facts_that_cannot_be_read_are_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    for file in ("documented.toml", "documented.csv"):
        shutil.copy(BACKENDS / "tensorrt" / file, tmp_path)
        copy = tmp_path / file
        copy.write_text(copy.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        documented(tmp_path, make_backend("tensorrt").table())
