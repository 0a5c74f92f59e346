"""The site: what is generated says all there is, every link leads somewhere, and the navigation has every page."""

from __future__ import annotations

import posixpath
import re
import subprocess
import sys
from pathlib import Path

import pytest

from graphopt.cli.main import BUILT_IN
from graphopt.pipeline import BACKENDS, PASSES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All pages by their path, laid out as `make docs-site` does."""
    target = tmp_path_factory.mktemp("site") / "docs"
    subprocess.run([sys.executable, ROOT / "docs" / "assemble.py", target], check=True)
    return {str(page.relative_to(target)): page.read_text(encoding="utf-8") for page in target.rglob("*.md")}


def test_the_reference_has_every_command_pass_backend_and_public_name(pages: dict[str, str]) -> None:
    assert all(f"## graphopt {name}\n" in pages["reference/commands.md"] for name in BUILT_IN)
    ours = [entry.name for entry in PASSES.entries() if entry.source.startswith("graphopt ")]
    assert [name for name in ours if f"\n### {name}\n" not in pages["reference/passes.md"]] == []
    assert all(f"\n## {name}\n" in pages["reference/backends.md"] for name in ("snpe", "tensorrt", "tflite"))
    assert BACKENDS.find("tflite").source.startswith("graphopt ")
    public = (ROOT / "tests" / "public_api.txt").read_text(encoding="utf-8").split()
    assert [name for name in public if f"::: {name}\n" not in pages["reference/python.md"]] == []


def test_the_reference_of_json_explains_the_keys_of_every_command(pages: dict[str, str]) -> None:
    text = pages["reference/json.md"]
    assert "| `outcome` | `Literal['applied', 'unchanged', 'rolled_back', 'failed']` | " in text
    for record in ("Report", "PassRecord", "Execution", "BackendCheck", "Inspection", "Difference", "Comparison"):
        assert f"\n### {record}\n" in text


def test_every_link_between_pages_leads_to_a_page_and_a_heading(pages: dict[str, str]) -> None:
    lost = []
    for path, text in pages.items():
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^):\s]+)\)", prose):
            file, _, anchor = target.partition("#")
            page = posixpath.normpath(posixpath.join(posixpath.dirname(path), file)) if file else path
            if page not in pages or (anchor and anchor not in _anchors(pages[page])):
                lost.append(f"{path}: {target}")
    assert lost == []


def test_the_navigation_has_every_page_once(pages: dict[str, str]) -> None:
    named = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(named) == sorted(pages)


def _anchors(text: str) -> set[str]:
    """What headings are linked by: small letters, no punctuation, hyphens for spaces."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}
