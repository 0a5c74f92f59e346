"""The three commands of the README, as a newcomer types them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

README = Path(__file__).parents[2] / "README.md"
OFFLINE = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]


@pytest.fixture
def type_in(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Runs a line of a shell, in an environment of its own where graphopt is installed."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    (site / "here.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    python = str(home / "bin" / "python")

    def run(line: str) -> subprocess.CompletedProcess[str]:
        program, *words = line.split()
        command = {
            "graphopt": [python, "-m", "graphopt", *words],
            "pip": [sys.executable, "-m", "pip", "--python", python, *words, *OFFLINE],
            "pytest": [python, "-m", "pytest", "-p", "no:cacheprovider", *words],
        }[program]
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False)

    return run


def test_three_commands_from_nothing_to_a_pass_that_changes_a_model(
    type_in: Callable[[str], subprocess.CompletedProcess[str]], model: Path
) -> None:
    model.rename(model.with_name("model.onnx"))
    commands = re.search(r"```bash\n(graphopt plugin new.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    for line in commands[1].splitlines():
        done = type_in(line)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    listed = json.loads(type_in("graphopt passes --json").stdout)["passes"]
    assert next(row["source"] for row in listed if row["name"] == "my-pass") == "my-pass 0.1.0"
    assert all(node.name.startswith(f"{node.op_type}_") for node in onnx.load(model.with_name("x.onnx")).graph.node)


@pytest.mark.parametrize("kind", ["pass", "rules", "backend"])
def test_what_is_scaffolded_passes_its_own_tests_and_the_conformance_kit(
    type_in: Callable[[str], subprocess.CompletedProcess[str]], kind: str
) -> None:
    assert type_in(f"graphopt plugin new try-it --kind {kind}").returncode == 0
    again = type_in("graphopt plugin new try-it")
    assert (again.returncode, "is there already" in again.stderr) == (2, True)
    assert type_in("pip install -e try-it").returncode == 0
    done = type_in("pytest -v try-it -c try-it/pyproject.toml")
    assert done.returncode == 0, done.stdout[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 5
    assert "test_try_it.py" in done.stdout
    assert "try-it: loads" in done.stdout


def test_a_name_that_is_none_for_a_distribution_is_refused_with_one_that_is(
    type_in: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = type_in("graphopt plugin new My.Pass!")
    assert (done.returncode, done.stderr.strip().count("\n")) == (2, 0)
    assert "as 'my-pass'" in done.stderr
    assert not list(tmp_path.glob("M*"))
