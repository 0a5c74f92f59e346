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
PLUGINS = Path(__file__).parents[2] / "plugins"
Shell = Callable[..., subprocess.CompletedProcess[str]]


def _source(name: str) -> Path:
    return DISTS / name if (DISTS / name).is_dir() else PLUGINS / name


def _install(folder: Path, name: str) -> Path:
    """Folder with the distribution in it; pip builds it from a copy, since building leaves files behind."""
    site = folder / name
    if not site.exists():
        copy = str(shutil.copytree(_source(name), folder / "sources" / name))
        # Built with what is installed where that is enough, so that no network is needed.
        offline = ["--no-build-isolation", "--no-index"] if importlib.util.find_spec("hatchling") else []
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, *offline, "--target", str(site), copy], check=True)
    return site


@pytest.fixture(scope="session")
def env_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, str]]:
    """The environment in which distributions of `dists` are installed; pip runs once for all workers."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "plugins"

    def install(*names: str) -> dict[str, str]:
        shared.mkdir(exist_ok=True)
        sites = []
        for name in names:
            with (shared / f"{name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                sites.append(str(_install(shared, name)))
        return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [*sites, os.environ.get("PYTHONPATH")]))}

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
    weight = proto.graph.initializer[0]
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight), "w"))  # as exporters write it
    onnx.save(proto, tmp_path / "small.onnx")
    return tmp_path / "small.onnx"
