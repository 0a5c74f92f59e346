"""What can happen to a run, one test a row: the disk, the machine, the user, the vendor.

Of the same matrix, elsewhere: a full disk while one file is written (tests/ir/test_save.py, tests/report/test_write.py)
or for the answer, closed streams, readers that go away (tests/cli/test_shell.py), names with spaces and letters of all
alphabets (tests/cli/test_run.py), a missing extra (tests/backends), Ctrl-C in a plugin (tests/plugins), in a
measurement (tests/support/test_harness.py).
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import resource
import signal
import time
from pathlib import Path
from types import ModuleType

import onnx
import pytest

from graphopt.support.child import ChildError, call


def _command() -> ModuleType:
    spec = importlib.util.spec_from_file_location("command", Path(__file__).with_name("command.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


command = _command()
COMPLETE = {"model.onnx", "report.html", "report.json"}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with a model, and with out/ that an earlier run on another model left."""
    folder = tmp_path / "work"
    folder.mkdir()
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[1,2,4,4] x) => (float[1,2,4,4] y)
        <float[2,2,1,1] w = {1.0, 2.0, 3.0, 4.0}, float[2] b = {0.5, NUMBER}>
        { i = Identity(x)  c = Conv(i, w)  d = Conv(c, w, b)  y = Relu(d) }"""
    for name, number in (("new", "-0.5"), ("old", "0.25")):
        onnx.save(onnx.parser.parse_model(text.replace("NUMBER", number)), folder / f"{name}.onnx")
    assert command.run(folder, "run", "old.onnx", "-q", "-o", "out/") == (0, "")
    return folder


def _content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def _limit_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # enough for a model, too little for a report


def test_a_disk_that_is_full_leaves_what_an_earlier_run_made(work: Path) -> None:
    before = _content(work / "out")
    code, said = command.run(work, "run", "new.onnx", "-q", "-o", "out/", before=_limit_files)
    assert (code, said.count("\n")) == (2, 1)
    assert "file too large" in said
    assert _content(work / "out") == before
    assert set(os.listdir(work / "out")) == COMPLETE


@pytest.mark.parametrize("output", ["/proc/graphopt/", "/proc/model.onnx", "/dev/null/out/"])
def test_an_output_that_cannot_be_written_is_one_line(work: Path, output: str) -> None:
    code, said = command.run(work, "run", "new.onnx", "-o", output)
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith("graphopt: cannot write ")


def test_killed_at_any_moment_a_file_is_the_old_one_or_the_new_one(work: Path) -> None:
    whole = time.monotonic()
    assert command.run(work, "run", "new.onnx", "-q", "-o", "fresh/")[0] == 0
    whole = time.monotonic() - whole
    known = {name: {_content(work / out)[name] for out in ("out", "fresh")} for name in ("model.onnx",)}
    moments = random.Random(7)
    killed = 0
    for number in range(12):
        child = command.begin(work, "run", ("new.onnx", "old.onnx")[number % 2], "-q", "-o", "out/")
        time.sleep(moments.uniform(0.3, 1.1) * whole)
        child.kill()
        killed += child.wait() == -signal.SIGKILL
        left = _content(work / "out")
        assert left.keys() == COMPLETE
        assert left["model.onnx"] in known["model.onnx"]
        assert json.loads(left["report.json"])["status"] == "ok"
        assert left["report.html"].rstrip().endswith(b"</html>")
    assert killed
    assert command.run(work, "run", "new.onnx", "-q", "-o", "out/") == (0, "")
    assert _content(work / "out")["model.onnx"] == _content(work / "fresh")["model.onnx"]


def test_stopped_by_the_user_a_run_says_so_and_leaves_nothing(work: Path) -> None:
    before = _content(work / "out")
    loop = """<ir_version: 8, opset_import: ["" : 17]> g (float[1] x, bool go_on) => (float[1] y)
        <int64 n = {9223372036854775807}> { y = Loop (n, go_on, x) <body = b (int64 i, bool on, float[1] h) =>
        (bool go, float[1] k) { go = Identity(on)  k = Add(h, x) }> }"""
    onnx.save(onnx.parser.parse_model(loop), work / "slow.onnx")
    child = command.begin(work, "run", "slow.onnx", "-o", "out/")
    while not Path(f"{work}.ready").exists():
        time.sleep(0.01)
    time.sleep(1.0)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=60) == 130
    assert Path(f"{work}.err").read_text().strip() == "graphopt: stopped"
    assert _content(work / "out") == before
    assert set(os.listdir(work / "out")) == COMPLETE


def test_two_runs_at_once_on_one_folder_leave_a_whole_one(work: Path) -> None:
    children = [command.begin(work, "run", name, "-q", "-o", "out/") for name in ("new.onnx", "old.onnx", "new.onnx")]
    assert [child.wait(timeout=300) for child in children] == [0, 0, 0]
    assert set(os.listdir(work / "out")) == COMPLETE
    assert json.loads((work / "out" / "report.json").read_text())["status"] == "ok"
    onnx.checker.check_model(work / "out" / "model.onnx", full_check=True)


@pytest.mark.parametrize("home", ["/proc/nobody", "/dev/null", ""])
def test_a_home_that_cannot_be_read_or_written_does_not_matter(work: Path, home: str) -> None:
    homeless = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), home)
    code, said = command.run(work, "run", "new.onnx", "-q", "-o", "out/", env=homeless)
    assert code == 0
    assert not [line for line in said.splitlines() if "telemetry" not in line]  # which is onnxruntime's word


def test_names_that_are_no_text_are_read_and_written(work: Path) -> None:
    odd = os.fsdecode(b"caf\xe9 \xff.onnx")
    os.rename(work / "new.onnx", work / odd)
    assert command.run(work, "run", odd, "-q", "-o", os.fsdecode(b"out\xff/")) == (0, "")
    assert set(os.listdir(work / os.fsdecode(b"out\xff"))) == COMPLETE
    for words in (["run", odd], ["run", odd, "--json"], ["check", odd, "-b", "tflite"], ["inspect", odd]):
        assert command.run(work, *words) == (0, ""), words
    assert command.run(work, "diff", odd, "old.onnx") == (1, "")
    os.truncate(work / odd, 30)
    for words in (["run", odd], ["check", odd, "-b", "tflite"], ["inspect", odd], ["diff", odd, odd]):
        code, said = command.run(work, *words)
        assert (code, said.count("\n")) == (2, 1), said
        assert said.startswith("graphopt: caf")


def test_a_model_that_needs_more_memory_than_there_is_ends_the_command_alone(work: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[1] x) => (float y) <int64[1] to = {4294967296}>
        { z = ConstantOfShape(to)  m = ReduceMax <keepdims = 0> (z)  y = Add(x, m) }"""
    onnx.save(onnx.parser.parse_model(text), work / "large.onnx")
    code, _ = command.run(work, "run", "large.onnx", "-o", "large/", env={"GRAPHOPT_MEMORY": "1500M"})
    report = json.loads((work / "large" / "report.json").read_text())
    assert (code, report["verification"]["status"]) == (0, "skipped")
    assert "llocat" in report["verification"]["detail"] or "memory" in report["verification"]["detail"]


@pytest.mark.parametrize(("size", "code"), [("2G", 0), ("0", 0), ("500 MiB", 0), ("lots", 2)])
def test_the_bound_on_memory_is_a_size(work: Path, size: str, code: int) -> None:
    done, said = command.run(work, "run", "new.onnx", "-q", "--verify", "off", env={"GRAPHOPT_MEMORY": size})
    assert done == code
    assert ("is not a size" in said) == (code == 2)


VENDOR = {
    "crash": ("import ctypes\ndef work():\n    ctypes.string_at(0)\n", "crash", "SIGSEGV"),
    "abort": ("import os\ndef work():\n    os.abort()\n", "crash", "SIGABRT"),
    "hang": ("import time\ndef work():\n    time.sleep(60)\n", "timeout", "no answer"),
    "all the memory": ("def work():\n    return len(bytearray(1 << 40))\n", "error", "MemoryError"),
    "exit": ("import os\ndef work():\n    os._exit(7)\n", "crash", "exit code 7"),
}


@pytest.mark.parametrize("name", VENDOR)
def test_what_a_vendors_library_does_to_itself_is_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    source, kind, words = VENDOR[name]
    (tmp_path / "vendor_of_a_test.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ChildError, match=words) as failed:
        call("vendor_of_a_test:work", {}, timeout=2 if name == "hang" else 60, memory=4 << 30)
    assert failed.value.kind == kind
