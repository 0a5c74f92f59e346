"""Options of passes and backends: a frozen dataclass, filled from words or values and checked by its types."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphopt.errors import RecipeError


@dataclass(frozen=True)
class NoOptions:
    """Of what takes no options."""


def validated(owner: str, kind: type, options: Mapping[str, Any]) -> Any:
    """An object of the dataclass `kind`.

    Args:
        owner: whose options they are, as "pass prune-channels".
        kind: the dataclass.
        options: values by name; texts, as the command line gives them, are converted.

    Raises:
        RecipeError: there is no such option (the message names the nearest), or its value is wrong.
    """
    fields = dataclasses.fields(kind)
    if not options and not any(f.default is f.default_factory is dataclasses.MISSING for f in fields):
        return kind()
    from pydantic import ValidationError

    known = [f.name for f in fields]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(known) or 'no options'}"
            raise RecipeError(f"{owner} has no option {name!r}{hint}")
    try:
        return _adapter(kind).validate_python(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecipeError(f"{owner}, option {where}: {first['msg'].lower()}, not {first['input']!r}") from None


def changed(options: Any) -> dict[str, Any]:
    """Options that are not at their defaults."""
    found = {}
    for one in dataclasses.fields(options):
        value = getattr(options, one.name)
        default = one.default_factory() if callable(one.default_factory) else one.default
        if value != default:
            found[one.name] = value
    return found


def parse_spec(spec: str, flag: str) -> tuple[str, dict[str, Any]]:
    """What the command line calls something by: "name" or "name:key=value,key=value"; "distribution:name" is a name.

    A list is written in brackets, as in "name:axes=[0,2],mode=fast".

    Args:
        spec: the words.
        flag: the option of the command line that they follow, for the error.

    Raises:
        RecipeError: an option without a value, or no name.
    """
    name, _, tail = spec.partition(":")
    if tail and "=" not in tail.split(",")[0].split(":")[0]:
        more, _, tail = tail.partition(":")
        name = f"{name}:{more}"
    options: dict[str, Any] = {}
    for item in filter(None, split(tail)):
        key, sign, value = item.partition("=")
        if not sign:
            raise RecipeError(f"{flag} {spec}: option {key!r} has no value; write {key}=VALUE")
        options[key.strip()] = _value(value)
    if not name:
        raise RecipeError(f"{flag} {spec!r} has no name")
    return name, options


def split(text: str) -> list[str]:
    """The parts between commas, where these are not in brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth += {"[": 1, "]": -1}.get(sign, 0)
        if sign == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _value(text: str) -> Any:
    """A word, or the list that brackets stand for."""
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        return [_value(part) for part in split(text[1:-1]) if part.strip()]
    return text


def written(value: Any) -> str:
    """A value as `parse_spec` reads it."""
    return f"[{','.join(map(written, value))}]" if isinstance(value, list | tuple) else str(value)


def described(kind: type) -> list[dict[str, Any]]:
    """The fields of an options dataclass for people: name, type, default, and help, the text after the field."""
    docs = _field_docs(kind)
    return [
        {
            "name": one.name, "type": one.type if isinstance(one.type, str) else inspect.formatannotation(one.type),
            "default": None if one.default is dataclasses.MISSING else one.default, "help": docs.get(one.name, ""),
        }
        for one in dataclasses.fields(kind)
    ]  # fmt: skip


@functools.cache
def _adapter(options: type) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(options)


def _field_docs(owner: type) -> dict[str, str]:
    """The text after each field of a dataclass, read from its source."""
    import ast
    import textwrap

    found: dict[str, str] = {}
    for one in reversed(owner.__mro__):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(one)))
        except (OSError, TypeError, SyntaxError):
            continue
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[getattr(field.target, "id", "")] = " ".join(str(text.value.value).split())
    return found
