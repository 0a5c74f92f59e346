"""A difference as one page that needs nothing else: no network, no file beside it, no script."""

from __future__ import annotations

from importlib.resources import files

from graphopt.diff.model import Difference
from graphopt.diff.told import arrow, rewrites, same_changes, same_operators, totals
from graphopt.report import words

_TITLES = {"identical": "Identical", "same": "The same within rounding", "different": "Different"}


def render_html(found: Difference) -> str:
    """The page of a difference. Every word of it is escaped: names in a model may hold anything."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update({"printable": words.printable, "plural": words.plural, "arrow": arrow})
    template = files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        found=found, title=_TITLES[found.verdict], totals=totals(found), style=_style(),
        kinds=[
            ("Rewritten", rewrites(found.rewritten)), ("Changed", same_changes(found.changed)),
            ("Removed", same_operators(found.removed)), ("Added", same_operators(found.added)),
        ],
    )  # fmt: skip


def _style() -> str:
    return files(__package__).joinpath("style.css").read_text(encoding="utf-8")
