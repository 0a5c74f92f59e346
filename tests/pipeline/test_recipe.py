"""Recipes: read, written, and wrong in ways that name the nearest right word."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from graphopt.errors import RecipeError, UserError
from graphopt.pipeline import Recipe, make_backend
from graphopt.pipeline.recipe import Step, from_specs, parse, read

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.from_regex(r"[A-Za-z0-9_-]+", fullmatch=True).filter(lambda key: key != "name")
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans()
VALUES = st.recursive(NUMBERS | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=5)
RECIPES = st.builds(
    Recipe, st.lists(st.builds(Step, TEXT, st.dictionaries(NAMES, VALUES))).map(tuple), description=TEXT
)


@settings(max_examples=60, deadline=None)
@given(RECIPES)
@example(Recipe((), description="\U000e0001 is not printable and beyond four digits"))
def test_a_recipe_survives_being_written_and_read(recipe: Recipe) -> None:
    assert parse(recipe.to_toml()) == recipe


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        (["fuse-conv-bn"], [("fuse-conv-bn", {})]),
        (["quantize:scheme=w8a8"], [("quantize", {"scheme": "w8a8"})]),
        (["a:x=1,y=two words"], [("a", {"x": "1", "y": "two words"})]),
        (["graphopt:a"], [("graphopt:a", {})]),
        (["graphopt:a:x=1:2"], [("graphopt:a", {"x": "1:2"})]),
        (["a", "b"], [("a", {}), ("b", {})]),
    ],
)
def test_a_spec_is_a_name_and_options(specs: list[str], expected: list[tuple[str, dict[str, Any]]]) -> None:
    assert [(step.name, dict(step.options)) for step in from_specs(specs).steps] == expected


@pytest.mark.parametrize("spec", ["", ":x=1", "a:x=1,y"])
def test_a_spec_that_cannot_be_read_says_so(spec: str) -> None:
    with pytest.raises(RecipeError, match=r"^-p "):
        from_specs([spec])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("passes = 1", "unknown key 'passes'; did you mean 'pass'?"),
        ("xyz = 1", "unknown key 'xyz'; a recipe has description and pass"),
        ("pass = 1", r"every pass is a table \[\[pass\]\] with a name"),
        ("[[pass]]\nratio = 1", r"every pass is a table \[\[pass\]\] with a name"),
        ("description = 1", "description is a text"),
        ("[[pass", "not valid TOML"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse(text)


def test_a_recipe_that_cannot_be_read_names_the_file(tmp_path: Any) -> None:
    with pytest.raises(RecipeError, match=r"none\.toml: cannot be read: no such file"):
        read(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="is not a text file"):
        read(tmp_path / "binary.toml")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fuse-conv-bm", {}, "there is no pass 'fuse-conv-bm'; did you mean 'fuse-conv-bn'"),
        ("zzz", {}, "there is no pass 'zzz'; see `graphopt passes`"),
        ("nobody:fuse-conv-bn", {}, "there is graphopt:fuse-conv-bn"),
        ("fuse-conv-bn", {"ratio": 1}, "fuse-conv-bn has no option 'ratio'; it takes no options"),
        ("fold-constants", {"value_byte": 1}, "did you mean 'value_bytes'"),
    ],
)
def test_a_step_that_cannot_be_built_names_the_nearest_word(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Recipe((Step(name, options),)).build()


def test_distributions_are_named_in_any_spelling() -> None:
    (one, source), *_ = Recipe((Step("GraphOpt:fuse-conv-bn", {}),)).build()
    assert one.name == "fuse-conv-bn"
    assert source.startswith("graphopt ")


def test_the_options_of_the_backend_are_in_the_recipe_too() -> None:
    recipe = parse('[[pass]]\nname = "a"\n\n[backend]\nio_layout = "nhwc"\n')
    assert recipe.backend == {"io_layout": "nhwc"}
    assert parse(recipe.to_toml()) == recipe
    assert (recipe + parse("[backend]\nthreads = 2")).backend == {"io_layout": "nhwc", "threads": 2}
    with pytest.raises(RecipeError, match="table"):
        parse("backend = 3")


def test_a_backend_is_made_with_options_and_knows_a_wrong_one() -> None:
    with pytest.raises(RecipeError, match="backend tensorrt has no option 'io_layout'"):
        make_backend("tensorrt:io_layout=nhwc")
    with pytest.raises(RecipeError, match="-b tensorrt:x=1,y: option 'y' has no value"):
        make_backend("tensorrt:x=1,y")
