"""Subcommands that plugins bring, and what the user's configuration keeps out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Shell = Callable[..., subprocess.CompletedProcess[str]]
Env = Callable[..., dict[str, str]]


def test_a_plugins_command_is_listed_with_its_source_and_runs(shell: Shell, model: Path) -> None:
    listed = shell("--help").stdout
    assert "size-of" in listed
    assert "of stranger 1.0" in listed
    done = shell("size-of", "small.onnx")
    assert (done.returncode, done.stdout.strip()) == (0, "5")


def test_a_command_cannot_take_another_ones_name(shell: Shell, model: Path, env_with: Env) -> None:
    env = env_with("stranger", "usurper")
    done = shell("run", "small.onnx", "-p", "cancel-negations", "--only", "--json", env=env)
    assert json.loads(done.stdout)["passes"][0]["rewrites"] == 1
    assert "the command 'run' of usurper 3.0 has the name of one of graphopt 0.1.0: say usurper:run" in done.stderr
    assert shell("usurper:run", env=env).stdout == "usurped\n"
    twice = shell("size-of", "small.onnx", env=env)
    assert twice.returncode == 2
    assert "stranger:size-of and usurper:size-of" in twice.stderr
    assert shell("stranger:size-of", "small.onnx", env=env).stdout.strip() == "5"
    problems = json.loads(shell("plugins", "--json", env=env).stdout)["plugins"]["usurper 3.0"]["problems"]
    assert any("'run' of usurper 3.0 has the name of one of graphopt" in problem for problem in problems)
    broken = shell("broken", env=env)
    assert (broken.returncode, len(broken.stderr.splitlines())) == (2, 1)
    assert "broken of usurper 3.0 cannot be imported" in broken.stderr


def test_a_configuration_says_which_distributions_enter(shell: Shell, model: Path, strangers: dict[str, str]) -> None:
    config = model.with_name("config.toml")
    env = {**strangers, "GRAPHOPT_CONFIG": str(config)}
    config.write_text('[plugins]\ndeny = ["Host*"]\n')
    listed = json.loads(shell("plugins", "--json", env=env).stdout)
    assert ("stranger 1.0" in listed["plugins"], "hostile 0.6" in listed["plugins"]) == (True, False)
    assert "raises" in listed["denied"]["hostile 0.6"]
    done = shell("run", "small.onnx", "-p", "raises", env=env)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "comes from hostile 0.6" in done.stderr
    assert "config.toml does not allow" in done.stderr
    config.write_text('[plugins]\nallow = ["hostile"]\n')
    assert "there is no command 'size-of'" in shell("size-of", "small.onnx", env=env).stderr or (
        "does not allow" in shell("size-of", "small.onnx", env=env).stderr
    )
    config.write_text("[plugins]\nallow = 1\n")
    done = shell("plugins", env=env)
    assert (done.returncode, "is a list of names" in done.stderr) == (2, True)


def test_the_conformance_kit_names_what_does_not_load_and_who_is_not_installed(shell: Shell, env_with: Env) -> None:
    env = env_with("usurper")
    done = shell("plugin", "check", "Usurper", "--json", env=env)
    assert done.returncode == 1
    failed = [one for one in json.loads(done.stdout)["findings"] if one["outcome"] == "failed"]
    assert [(one["subject"], one["question"]) for one in failed] == [("command broken", "loads")]
    assert "has no attribute 'nothing'" in failed[0]["detail"]
    done = shell("plugin", "check", "nobody", env=env)
    assert (done.returncode, "no installed distribution 'nobody'" in done.stderr) == (2, True)
