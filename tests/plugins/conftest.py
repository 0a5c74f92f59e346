"""Distributions of strangers, installed by pip into a folder of their own, and the command line that sees them."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

DISTS = Path(__file__).parent / "dists"
Shell = Callable[..., subprocess.CompletedProcess[str]]


def _install(folder: Path, *names: str) -> Path:
    """Folder with the distributions in it; pip builds them from copies, since building leaves files behind."""
    site = folder / "-".join(names)
    if not site.exists():
        copies = [str(shutil.copytree(DISTS / name, folder / "sources" / name)) for name in names]
        # Built with what is installed where that is enough, so that no network is needed.
        offline = ["--no-build-isolation", "--no-index"] if importlib.util.find_spec("hatchling") else []
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, *offline, "--target", str(site), *copies], check=True)
    return site


@pytest.fixture(scope="session")
def env_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, str]]:
    """The environment in which distributions of `dists` are installed; pip runs once for all workers."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "plugins"

    def install(*names: str) -> dict[str, str]:
        shared.mkdir(exist_ok=True)
        with (shared / f"{'-'.join(names)}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            site = _install(shared, *names)
        return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))}

    return install


@pytest.fixture(scope="session")
def strangers(env_with: Callable[..., dict[str, str]]) -> dict[str, str]:
    """The environment in which a good plugin and a hostile one are installed."""
    return env_with("stranger", "hostile")


@pytest.fixture
def shell(strangers: dict[str, str], tmp_path: Path) -> Shell:
    """Runs the command line in `tmp_path`, with the plugins installed."""

    def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "graphopt", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=env or strangers, capture_output=True, text=True, timeout=120, check=False
        )

    return run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Mul by a weight, two negations, Relu, and a second output."""
    proto = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        small (float[2,3] x) => (float[2,3] y, float[2,3] z)
        <float[3] w = {1.0, -2.0, 3.0}> {
            a = Mul(x, w)
            b = Neg(a)
            c = Neg(b)
            y = Relu(c)
            z = Neg(x)
        }""")
    onnx.save(proto, tmp_path / "small.onnx")
    return tmp_path / "small.onnx"
