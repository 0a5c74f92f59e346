"""A stranger's plugin: installed with pip, seen, used; and where it does wrong, named and contained."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

Shell = Callable[..., subprocess.CompletedProcess[str]]
Env = Callable[..., dict[str, str]]


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def run_json(shell: Shell, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The report of a run, which must have ended with this code."""
    done = shell("run", "small.onnx", "--json", *arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_an_installed_plugin_is_listed_with_its_distribution(shell: Shell) -> None:
    passes = json.loads(shell("passes", "--json").stdout)
    mine = next(row for row in passes["passes"] if row["name"] == "cancel-negations")
    assert mine["source"] == "stranger 1.0"
    assert mine["summary"] == "Take away two negations in a row."
    backends = json.loads(shell("backends", "--json").stdout)
    assert "paper" in [row["name"] for row in backends["backends"]]


def test_what_does_not_load_is_named_and_the_rest_is_listed(shell: Shell) -> None:
    done = shell("passes", "--json")
    listed = json.loads(done.stdout)
    assert done.returncode == 0
    assert {"fuse-conv-bn", "cancel-negations", "raises"} <= {row["name"] for row in listed["passes"]}
    broken = {problem.split(" of hostile 0.6 ")[0] for problem in listed["problems"]}
    assert broken == {"bad-import", "bad-exit", "bad-name", "bad-kind", "bad-promise", "bad-options"}
    plugins = json.loads(shell("plugins", "--json").stdout)["plugins"]
    assert len(plugins["hostile 0.6"]["problems"]) == 6
    mine = plugins["stranger 1.0"]
    assert (mine["backends"], mine["commands"], mine["problems"]) == (["paper"], ["size-of"], [])
    problems = json.loads(shell("backends", "--json").stdout)["problems"]
    assert problems == ["wreck of hostile 0.6 cannot be listed: ZeroDivisionError: no table"]


def test_a_plugins_pass_runs_in_a_recipe_beside_built_in_ones(shell: Shell, model: Path) -> None:
    recipe = '[[pass]]\nname = "cancel-negations"\n[[pass]]\nname = "stranger:cancel-negations"\n'
    model.with_name("r.toml").write_text(recipe + '[[pass]]\nname = "canonicalize"\n')
    report = run_json(shell, "-r", "r.toml", "-o", "out")
    first, second, third = report["passes"]
    assert (first["outcome"], first["rewrites"], first["source"]) == ("applied", 1, "stranger 1.0")
    assert (second["outcome"], third["source"].split()[0]) == ("unchanged", "graphopt")
    assert [n.op_type for n in onnx.load(model.parent / "out/model.onnx").graph.node] == ["Mul", "Relu", "Neg"]


@pytest.mark.parametrize(
    ("name", "outcome", "words"),
    [
        ("bad-import", "failed", "a_package_that_nobody_has"),
        ("bad-exit", "failed", "cannot be imported: SystemExit: 3"),
        ("bad-name", "failed", "calls itself 'good-name'"),
        ("bad-kind", "failed", "is not a Pass"),
        ("bad-promise", "failed", "declares the fidelity 'roughly'"),
        ("bad-options", "failed", "has Options that are not a dataclass"),
        ("bad-type", "failed", "TypeError: 'str' object"),
        ("bad-making", "failed", "OSError: no licence file"),
        ("raises", "failed", "KeyError: 'missing\\nsecond line'"),
        ("quits", "failed", "SystemExit: bye"),
        ("dangling", "rolled_back", "reads 'nowhere', which nothing makes"),
        ("numbers", "rolled_back", "does not keep its fidelity (exact)"),
        ("drops-output", "rolled_back", "the outputs were y, z and are y"),
        ("scribbles", "failed", "ValueError: assignment destination is read-only"),
        ("loops", "failed", "did not end within 1 s"),
        ("waits", "failed", "did not end within 1 s"),
        ("stubborn", "failed", "did not end within 1 s"),
    ],
)
def test_a_hostile_pass_costs_its_own_effect_and_is_named(
    shell: Shell, model: Path, name: str, outcome: str, words: str
) -> None:
    wanted = ["-p", name, "-p", "cancel-negations", "--only", "--pass-timeout", "1"]
    done = shell("run", "small.onnx", *wanted, "--json", "-o", "x.onnx")
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)["passes"]
    assert (first["name"], first["source"], first["outcome"]) == (name, "hostile 0.6", outcome)
    assert words in first["detail"]
    assert (second["outcome"], second["rewrites"]) == ("applied", 1)
    assert len(lines(done.stderr)) == 1
    assert name in done.stderr
    assert [n.op_type for n in onnx.load(model.with_name("x.onnx")).graph.node] == ["Mul", "Relu", "Neg"]


def test_ten_hostile_plugins_in_one_run_are_named_and_the_run_is_completed(
    shell: Shell, model: Path, env_with: Env
) -> None:
    hostile = [
        "bad-import",
        "raises",
        "loops",
        "dangling",
        "numbers",
        "scribbles",
        "prints",
        "bad-type",
        "drops-output",
    ]
    passes = [part for name in [*hostile, "twin:fuse-conv-bn", "cancel-negations"] for part in ("-p", name)]
    env = env_with("stranger", "hostile", "twin")
    done = shell("run", "small.onnx", *passes, "--only", "--json", "-o", "x.onnx", "--pass-timeout", "1", env=env)
    assert done.returncode == 0, done.stderr
    records = {record["name"]: record for record in json.loads(done.stdout)["passes"]}
    contained = {name for name, record in records.items() if record["outcome"] in ("failed", "rolled_back")}
    assert contained == set(hostile) - {"prints"}
    assert all(records[name]["source"] == "hostile 0.6" for name in hostile)
    assert [n.op_type for n in onnx.load(model.with_name("x.onnx")).graph.node] == ["Mul", "Relu", "Neg"]
    clash = shell("run", "small.onnx", "-p", "fuse-conv-bn", env=env)
    assert (clash.returncode, "graphopt:fuse-conv-bn and twin:fuse-conv-bn" in clash.stderr) == (2, True)


@pytest.mark.parametrize(("name", "verify"), [("raises", "final"), ("numbers", "each"), ("numbers", "final")])
def test_a_run_that_shall_stop_at_a_failure_says_where_it_stopped(
    shell: Shell, model: Path, name: str, verify: str
) -> None:
    report = run_json(shell, "-p", name, "--on-failure", "stop", "--verify", verify, code=1)
    assert report["status"] == "failed"
    assert report["reason"].startswith(f"stopped at {name}: ")


def test_a_pass_cannot_write_into_the_weights_of_a_model_in_memory(
    strangers: dict[str, str], model: Path, tmp_path: Path
) -> None:
    program = """
import numpy as np, onnx_ir as ir, graphopt
model = graphopt.load("small.onnx")
weight = np.ones(3, np.float32)
model.graph.initializers["w"].const_value = ir.tensor(weight, name="w")
report = graphopt.optimize(model, recipe='[[pass]]\\nname = "scribbles"').report
assert weight.tolist() == [1, 1, 1], weight
assert report.passes[0].outcome == "failed", report.passes
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=strangers, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_wrong_option_of_a_plugin_is_one_line(shell: Shell, model: Path) -> None:
    done = shell("run", "small.onnx", "-p", "raises:times=often")
    assert (done.returncode, len(lines(done.stderr))) == (2, 1)
    assert "raises, option times" in done.stderr
    done = shell("run", "small.onnx", "-p", "raises:time=1")
    assert "did you mean 'times'?" in done.stderr


def test_what_a_pass_prints_is_not_in_the_answer(shell: Shell, model: Path) -> None:
    done = shell("run", "small.onnx", "-p", "prints", "--only", "--json")
    assert json.loads(done.stdout)["status"] == "ok"
    assert "chatter from python" in done.stderr
    assert "chatter from below" in done.stderr


def test_two_distributions_with_one_name_are_told_apart(shell: Shell, model: Path, env_with: Env) -> None:
    env = env_with("twin")
    done = shell("run", "small.onnx", "-p", "fuse-conv-bn", "--only", env=env)
    assert (done.returncode, len(lines(done.stderr))) == (2, 1)
    assert "graphopt:fuse-conv-bn and twin:fuse-conv-bn" in done.stderr
    done = shell("run", "small.onnx", "-p", "graphopt:fuse-conv-bn", "-p", "twin:fuse-conv-bn", "--json", env=env)
    passes = json.loads(done.stdout)["passes"]
    assert [p["source"].split()[0] for p in passes if p["name"] == "fuse-conv-bn"] == ["graphopt", "twin"]
    assert passes[-1]["detail"] == "the twin was here"
    assert done.returncode == 0


def test_a_backend_that_is_a_table_alone_can_be_checked_against_but_not_compiled_for(shell: Shell, model: Path) -> None:
    done = shell("check", "small.onnx", "-b", "paper", "--json")
    found = json.loads(done.stdout)["backends"]["paper"]
    assert (done.returncode, found["nodes"], found["supported"]) == (1, 5, 1)
    done = shell("run", "small.onnx", "-b", "paper", "-o", "out")
    assert (done.returncode, len(lines(done.stderr))) == (2, 1)
    assert "pip install 'graphopt[paper]'" in done.stderr
    assert shell("run", "small.onnx", "-b", "tflite,paper", "-o", "out").stderr == done.stderr
    assert not model.with_name("out").exists()
    assert shell("run", "small.onnx", "-b", "paper", "--no-compile", "-q").returncode == 1


def test_a_backend_that_raises_is_one_line(shell: Shell, model: Path) -> None:
    for command in (["check", "small.onnx", "-b", "wreck"], ["run", "small.onnx", "-b", "wreck", "-o", "out"]):
        done = shell(*command)
        assert (done.returncode, lines(done.stderr)) == (
            2,
            ["graphopt: the table of wreck cannot be read: ZeroDivisionError: no table"],
        )


@pytest.mark.parametrize("output", ["new.onnx", "old"])
def test_an_interrupted_run_leaves_what_was_there(
    strangers: dict[str, str], model: Path, output: str, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "model.onnx").write_bytes(b"old")
    before = sorted(tmp_path.rglob("*"))
    command = [sys.executable, "-m", "graphopt", "run", "small.onnx", "-p", "sleeps", "--only", "-o", output]
    with subprocess.Popen(command, cwd=tmp_path, env=strangers, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        assert child.stderr.readline() == "asleep\n"
        child.send_signal(signal.SIGINT)
        rest = child.stderr.read()
    assert child.returncode == 130
    assert lines(rest) == ["graphopt: stopped"]
    assert sorted(tmp_path.rglob("*")) == before
    assert (old / "model.onnx").read_bytes() == b"old"
