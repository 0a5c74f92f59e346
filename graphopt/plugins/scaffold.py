"""A new plugin: a distribution with one working example, a test and a CI file, made from templates."""

from __future__ import annotations

import datetime
import re
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from graphopt.errors import UserError

Kind = Literal["pass", "rules", "backend"]
KINDS: tuple[Kind, ...] = ("pass", "rules", "backend")

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TEMPLATES = Path(__file__).with_name("templates")
_SUMMARIES = {
    "pass": "Name every node after its operator and its place.",
    "rules": "Write a value that is added to itself as twice the value.",
    "backend": "A target that is known by a table of what it takes.",
}


def scaffold(name: str, kind: Kind, parent: Path) -> list[Path]:
    """Write the folder `name` of a new distribution.

    Args:
        name: of the distribution, and of the pass or backend in it.
        kind: a pass that is a function, rules, or a backend.
        parent: the folder to make it in.

    Returns:
        The files that were written.

    Raises:
        UserError: the name is none for a distribution, or there is something already.
    """
    from jinja2 import Environment, StrictUndefined

    if not _NAME.fullmatch(name):
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")
        raise UserError(f"{name!r} is no name for a plugin: lower-case words with hyphens, as {plain or 'my-pass'!r}")
    folder = parent / name
    if folder.exists():
        raise UserError(f"{folder} is there already: choose another name, or move it away")
    title = name.replace("-", " ").title()
    target = {"pass": "name_nodes", "rules": "double", "backend": title.replace(" ", "")}[kind]
    facts = {
        "name": name, "module": name.replace("-", "_"), "kind": kind, "target": target, "title": title,
        "group": "backends" if kind == "backend" else "passes", "summary": _SUMMARIES[kind],
        "graphopt": ".".join(version("graphopt").split(".")[:2]), "date": datetime.date.today().isoformat(),
    }  # fmt: skip
    templates = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    written = []
    for source in sorted(_TEMPLATES.rglob("*.jinja")):
        place, *rest = source.relative_to(_TEMPLATES).with_suffix("").parts
        if place not in ("any", kind):
            continue
        if rest[0] == "src":
            rest.insert(1, facts["module"])
        if rest == ["test.py"]:
            rest = ["tests", f"test_{facts['module']}.py"]
        file = folder.joinpath(*rest)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(templates.from_string(source.read_text(encoding="utf-8")).render(facts), encoding="utf-8")
        written.append(file)
    return written
