"""Lay out the site's pages for its builder: those of docs/, and the reference out of the code.

    python docs/assemble.py build/docs

`make docs-site` runs it, then builds what mkdocs.yml describes. A site has no files outside docs/, so a link that leads
there, as `[a hook](../examples/after_export.py)`, becomes its words and the path.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
from pathlib import Path

from reference import pages

DOCS = Path(__file__).parent


def main(target: Path) -> None:
    """Write every page below `target`, which is emptied first."""
    shutil.rmtree(target, ignore_errors=True)
    own = {str(page.relative_to(DOCS)): page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md")}
    for path, text in {**own, **pages()}.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(inside(text, posixpath.dirname(path)), encoding="utf-8")


def inside(text: str, folder: str) -> str:
    """A page in a folder of docs/, with links out of docs/ as words."""

    def shown(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link[2]))
        return f"{link[1]} (`{path.removeprefix('../')}`)" if path.startswith("../") else link[0]

    return re.sub(r"\[([^\]]+)\]\((\.\.?/[^)#]+)\)", shown, text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
