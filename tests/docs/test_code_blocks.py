"""Every code block of the README and of docs/ runs, page by page, in a folder of its own.

    bash, python     run; the exit code is 0
    console          the lines after `$ ` run in one shell; what stands below each must come out, with … for anything,
                     and the exit code is 0 unless `$ echo $?` asks for it next
    title="NAME"     the block is a file of that name, written for the blocks below it
    toml             parses
    text, yaml, mermaid   do not run

A folder has `model.onnx` (PP-OCR's classifier of text direction, batch×3×48×192), `images/` with six lines of a scanned
page, and what a checkout has under `examples` and `plugins`. Pages that take long run in `make docs-test` alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest

ROOT = Path(__file__).parents[2]
QUICK = {"README.md", "docs/index.md", "docs/plugins.md", "docs/embedding.md", "docs/how-to/write-a-pass.md"}
"""What `make test` runs, besides pages that have only data."""
RUNS = {"bash", "console", "python"}
KNOWN = RUNS | {"text", "toml", "yaml", "mermaid"}
FENCE = re.compile(r"^```(\w*)(?: +title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OFFLINE = "--quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index"


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language, the file that it is, and its text."""

    line: int
    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [Block(text.count("\n", 0, m.start()) + 1, m[1], m[2] or "", m[3]) for m in FENCE.finditer(text)]


PAGES = {str(page.relative_to(ROOT)): page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))}
WITH_CODE = [name for name, page in PAGES.items() if any(block.language in RUNS for block in blocks(page))]


@pytest.fixture
def workplace(tmp_path: Path, demo_file: Callable[[str], Path]) -> Path:
    """The folder in which a page is read."""
    from PIL import Image

    model = onnx.load(demo_file("cls"))
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, ("batch", 3, 48, 192), strict=True):
        setattr(dim, "dim_param" if isinstance(size, str) else "dim_value", size)
    onnx.save(model, tmp_path / "model.onnx")
    (tmp_path / "images").mkdir()
    scan = Image.open(demo_file("page")).convert("RGB")
    for line in range(6):
        scan.crop((0, 20 + 24 * line, 192, 68 + 24 * line)).save(tmp_path / "images" / f"line{line}.png")
    (tmp_path / "models").mkdir()
    for file in ("cls", "det", "page"):
        (tmp_path / "models" / demo_file(file).name).symlink_to(demo_file(file))
    for name in ("examples", "plugins"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of a shell with `graphopt`, `python`, `pip` and `pytest` of an environment that a page may change."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    (site / "here.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    python = home / "bin" / "python"
    for name, command in {
        "graphopt": f'{python} -m graphopt "$@"',
        "pytest": f'{python} -m pytest -p no:cacheprovider "$@"',
        "pip": f'{sys.executable} -m pip --python {python} "$@" {OFFLINE}',
    }.items():
        (home / "bin" / name).write_text(f"#!/bin/sh\nexec {command}\n")
        (home / "bin" / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "GRAPHOPT_"))}
    return {**kept, "PATH": f"{home / 'bin'}:{os.environ['PATH']}", "COLUMNS": "100", "NO_COLOR": "1"}


@pytest.mark.parametrize("name", WITH_CODE)
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(
    name: str, workplace: Path, environment: dict[str, str]
) -> None:
    if name not in QUICK and os.environ.get("GRAPHOPT_DOCS") != "all":
        pytest.skip("`make docs-test` runs it")
    problems: list[str] = []
    for block in blocks(PAGES[name]):
        if block.title:
            (workplace / block.title).parent.mkdir(parents=True, exist_ok=True)
            (workplace / block.title).write_text(block.text, encoding="utf-8")
        elif block.language in RUNS:
            problems += [f"{name}:{block.line}: {one}" for one in _run(block, workplace, environment)]
    assert not problems, "\n\n".join(problems)


@pytest.mark.parametrize("name", list(PAGES))
def test_every_block_says_what_it_is(name: str) -> None:
    for block in blocks(PAGES[name]):
        assert block.language in KNOWN, f"{name}:{block.line}: {block.language!r} is none of {', '.join(sorted(KNOWN))}"
        if block.language == "toml":
            tomllib.loads(block.text)
        if block.language == "console":
            assert block.text.startswith("$ "), f"{name}:{block.line}: a console block begins with `$ `"


def _run(block: Block, folder: Path, env: dict[str, str]) -> list[str]:
    """What is wrong with a block."""
    if block.language == "console":
        return _console(block.text, folder, env)
    program = ["python", "-"] if block.language == "python" else ["bash", "-eu", "-o", "pipefail"]
    code, printed = _shell(program, block.text, folder, env)
    return [f"ends with {code}:\n{printed[-3000:]}"] if code else []


def _shell(program: list[str], text: str, folder: Path, env: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        program, input=text, cwd=folder, env=env, text=True, timeout=600, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.returncode, done.stdout


def _console(text: str, folder: Path, env: dict[str, str]) -> list[str]:
    """Run the commands in one shell; what does not end or print as it should."""
    parts = [part.partition("\n") for part in re.split(r"^\$ ", text.replace("\\\n", " "), flags=re.MULTILINE)[1:]]
    mark = "\n--- {} ends with"
    script = "".join(
        f"{command}\nlast=$?; printf '{mark.format(number)} %s\\n' $last; (exit $last)\n"
        for number, (command, _, _) in enumerate(parts)
    )
    rest = _shell(["bash"], script, folder, env)[1]
    problems = []
    for number, (command, _, expected) in enumerate(parts):
        printed, _, rest = rest.partition(mark.format(number))
        code, _, rest = rest.partition("\n")
        if code.strip() != "0" and [*parts, ("", "", "")][number + 1][0] != "echo $?":
            problems.append(f"`{command}` ends with {code}:\n{printed}")
        elif not re.search(_pattern(expected), " ".join(printed.split()), re.DOTALL):
            problems.append(f"`{command}` prints\n{printed}")
    return problems


def _pattern(expected: str) -> str:
    """Matches what was expected, however it is wrapped, with anything in the place of …"""
    return ".*".join(re.escape(" ".join(piece.split())) for piece in expected.split("…"))
