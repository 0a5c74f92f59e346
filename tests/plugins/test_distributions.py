"""The distributions in plugins/ pass their own tests and the conformance kit; OpenVINO's by `make plugins-test`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.plugins.conftest import PLUGINS


@pytest.mark.parametrize("name", ["graphopt-example", "graphopt-onnxruntime"])
def test_a_distribution_passes_its_own_tests(name: str, env_with: Callable[..., dict[str, str]]) -> None:
    folder = PLUGINS / name
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(folder / "pyproject.toml")]
    env = {key: value for key, value in env_with(name).items() if not key.startswith("PYTEST_")}
    done = subprocess.run([*command, str(folder)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
