"""What `graphopt run` and `check` write and say: the files, the JSON that scripts read, the exit codes."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

Shell = Callable[..., Any]

REPORT = {
    "schema", "graphopt", "backend", "status", "input", "output", "passes", "support", "verification", "compile",
    "recipe", "seconds", "peak_rss_bytes",
}  # fmt: skip
FACTS = {"path", "sha256", "opset", "nodes", "parameters", "bytes"}
PASS = {"name", "source", "fidelity", "rewrites", "nodes_before", "nodes_after", "seconds", "outcome", "detail"}
ERROR = {"name", "max_abs_error", "max_rel_error", "cosine", "sqnr_db"}
FINDING = {"node", "op_type", "reason", "evidence", "remedy"}


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_the_report_has_the_keys_that_scripts_rely_on(
    shell: Shell, demo_file: Callable[[str], Path], tmp_path: Path
) -> None:
    done = shell("run", str(demo_file("cls")), "-b", "tflite", "--json", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    report = json.loads(done.stdout)
    assert set(report) >= REPORT
    assert (report["schema"], report["backend"], report["status"]) == ("graphopt.report/1", "tflite", "ok")
    assert set(report["input"]) >= FACTS
    assert set(report["output"]) >= FACTS
    assert all(set(record) >= PASS for record in report["passes"])
    assert set(report["support"]) == {"before", "after"}
    assert set(report["support"]["after"]) == {"nodes", "supported", "unsupported"}
    assert set(report["verification"]) >= {"status", "inputs", "samples", "outputs"}
    assert set(report["verification"]["outputs"][0]) == ERROR
    assert set(report["compile"]) >= {"status", "toolchain", "artifact", "bytes", "seconds", "execution"}
    assert set(report["compile"]["execution"]) >= {"status", "outputs"}
    assert report["compile"]["execution"]["status"] == "passed"
    assert files(tmp_path / "out") == ["model.onnx", "model.tflite", "report.html", "report.json"]
    assert json.loads((tmp_path / "out/report.json").read_text()) == report
    nodes = onnx.load(tmp_path / "out/model.onnx").graph.node
    assert report["output"]["nodes"] == sum(node.op_type != "Constant" for node in nodes)
    # The recipe in the report repeats the run, to the byte.
    (tmp_path / "r.toml").write_text(report["recipe"])
    again = shell("run", str(demo_file("cls")), "-b", "tflite", "-r", "r.toml", "--no-compile", "-q", "-o", "x.onnx")
    assert (again.returncode, again.stdout, again.stderr) == (0, b"", b"")
    assert (tmp_path / "x.onnx").read_bytes() == (tmp_path / "out/model.onnx").read_bytes()


def test_several_backends_have_a_folder_each(shell: Shell, small: Path, tmp_path: Path) -> None:
    done = shell("run", "small.onnx", "-b", "tflite", "-b", "tensorrt,snpe", "--dim", "batch=1", "-o", "out", "--json")
    assert done.returncode == 0, done.stderr
    reports = json.loads(done.stdout)
    assert [report["backend"] for report in reports] == ["tflite", "tensorrt", "snpe"]
    for report in reports:
        folder = tmp_path / "out" / report["backend"]
        assert len(files(folder)) == 4
        assert report["compile"]["status"] == "ok"
        assert Path(tmp_path, report["compile"]["artifact"]).stat().st_size == report["compile"]["bytes"]


def test_an_output_file_is_the_model_alone(here: Shell, small: Path, tmp_path: Path) -> None:
    assert here("run", "small.onnx", "-b", "tflite", "--dim", "batch=1", "-o", "x.onnx").code == 0
    assert files(tmp_path) == ["small.onnx", "x.onnx"]
    assert [n.op_type for n in onnx.load(tmp_path / "x.onnx").graph.node] == ["Conv", "Relu"]


def test_a_folder_may_have_a_dot_in_its_name(here: Shell, small: Path, tmp_path: Path) -> None:
    assert here("run", str(small), "-o", "out.v2").code == 0
    assert files(tmp_path / "out.v2") == ["model.onnx", "report.html", "report.json"]


def test_an_output_named_as_the_compiled_file_is_one_line_with_the_way(here: Shell, small: Path) -> None:
    done = here("run", str(small), "-b", "tflite", "-o", "small.tflite")
    assert done.code == 2
    assert "graphopt compile" in done.err
    assert len(done.err.splitlines()) == 1


def test_without_an_output_nothing_is_written(here: Shell, small: Path, tmp_path: Path) -> None:
    answer = here("run", "small.onnx", "-b", "tflite", "--dim", "batch=1", "--json")
    assert answer.code == 0
    assert json.loads(answer.out)["compile"]["status"] == "ok"
    assert files(tmp_path) == ["small.onnx"]


def test_models_stream_through_standard_input_and_output(shell: Shell, small: Path, tmp_path: Path) -> None:
    done = shell("run", "-", "-o", "-", stdin=small.read_bytes())
    assert done.returncode == 0
    model = onnx.ModelProto.FromString(done.stdout)
    assert [n.op_type for n in model.graph.node] == ["Conv", "Relu"]
    assert b"/tmp" not in done.stderr
    assert files(tmp_path) == ["small.onnx"]
    report = json.loads(shell("run", "-", "--json", stdin=small.read_bytes()).stdout)
    assert report["input"]["path"] == "-"


def test_running_twice_gives_the_same_bytes(here: Shell, demo_file: Callable[[str], Path], tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        assert here("run", str(demo_file("det")), "--verify", "off", "-q", "-o", name).code == 0
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize("name", ["two words.onnx", "模型 é.onnx", "-dash.onnx", "[bold]x.onnx"])
def test_any_file_name_will_do(here: Shell, small: Path, tmp_path: Path, name: str) -> None:
    small.rename(tmp_path / name)
    answer = here("run", "-o", f"ärger {name}.d/", "--", name)
    assert answer.code == 0, answer.err
    assert files(tmp_path / f"ärger {name}.d") == ["model.onnx", "report.html", "report.json"]
    report = json.loads((tmp_path / f"ärger {name}.d/report.json").read_text(encoding="utf-8"))
    assert report["input"]["path"] == name


def test_an_output_may_replace_the_input(here: Shell, small: Path) -> None:
    assert here("run", "small.onnx", "-o", "small.onnx", "-q").code == 0
    assert [n.op_type for n in onnx.load(small).graph.node] == ["Conv", "Relu"]


def test_a_run_that_cannot_be_done_leaves_old_files(here: Shell, small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("model.onnx", "model.tflite", "report.json", "report.html"):
        (out / name).write_text("old")
    small.write_bytes(small.read_bytes()[:-40])
    assert here("run", "small.onnx", "-b", "tflite", "-o", "out/").code == 2
    assert {(out / name).read_text() for name in files(out)} == {"old"}


def test_unsupported_nodes_are_answered_with_1_and_named(here: Shell, custom: Path, tmp_path: Path) -> None:
    answer = here("check", "custom.onnx", "-b", "tflite,snpe", "--json")
    found = json.loads(answer.out)
    assert (answer.code, answer.err) == (1, "")
    assert set(found) >= {"schema", "model", "backends"}
    assert (found["schema"], found["model"]) == ("graphopt.check/1", {"path": "custom.onnx", "nodes": 3})
    for backend in found["backends"].values():
        assert set(backend) >= {"toolchain", "nodes", "supported", "segments", "unsupported"}
        assert "odd one" in [finding["node"] for finding in backend["unsupported"]]
        assert all(set(finding) == FINDING for finding in backend["unsupported"])
    answer = here("run", "custom.onnx", "-b", "tflite", "--no-compile", "--json", "-o", "out/")
    assert answer.code == 1
    assert json.loads(answer.out)["status"] == "rejected"
    assert files(tmp_path / "out") == ["model.onnx", "report.html", "report.json"]


def test_a_compiler_that_refuses_is_answered_with_1(here: Shell, custom: Path, tmp_path: Path) -> None:
    answer = here("compile", "custom.onnx", "-b", "tflite", "-o", "x.tflite")
    assert (answer.code, answer.out) == (1, "")
    assert "refuses the model" in answer.err
    assert files(tmp_path) == ["custom.onnx"]


def test_compile_writes_the_artifact(here: Shell, small: Path, tmp_path: Path) -> None:
    assert here("run", "small.onnx", "--dim", "batch=1", "-q", "-o", "fixed.onnx").code == 0
    answer = here("compile", "fixed.onnx", "-b", "tflite", "-o", "x.tflite", "--json")
    told = json.loads(answer.out)
    assert (answer.code, told["status"]) == (0, "ok")
    assert (tmp_path / "x.tflite").stat().st_size == told["bytes"]


def test_explain_says_why_a_rule_did_not_fire(here: Shell, tmp_path: Path) -> None:
    proto = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]> g (float[1,1,4,4] x, float[1] s) => (float[1,1,4,4] y)
        <float[1,1,1,1] w = {1.0}, float[1] b = {0.5}, float[1] m = {0.1}, float[1] v = {1.0}> {
            c = Conv(x, w)
            y = BatchNormalization(c, s, b, m, v)
        }""")
    onnx.save(proto, tmp_path / "g.onnx")
    answer = here("run", "g.onnx", "-p", "fuse-conv-bn", "--only", "--explain", "conv-bn", "-q")
    assert answer.code == 0
    assert answer.err.startswith("fuse-conv-bn/conv-bn at ")


def test_a_pipe_that_is_fed_slowly_is_read_whole(shell: Shell, small: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=lambda: pipe.write_bytes(small.read_bytes()))
    feeder.start()
    done = shell("check", "pipe", "-b", "tflite", "--dim", "batch=1")
    feeder.join()
    assert done.returncode in (0, 1)
    assert b"Traceback" not in done.stderr


def test_check_picks_the_table_of_a_toolchain_or_names_those_there_are(here: Shell, small: Path) -> None:
    from graphopt.pipeline import make_backend

    version = make_backend("tflite").table().toolchain.rpartition(" ")[2]
    assert here("check", "small.onnx", "-b", "tflite", "--toolchain", version).code in (0, 1)
    answer = here("check", "small.onnx", "-b", "tflite", "--toolchain", "0.0.1")
    assert answer.code == 2
    assert f"ai-edge-litert {version}" in answer.err
