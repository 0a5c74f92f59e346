"""Tables survive the disk, read well as files, and say clearly what is wrong with them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.errors import UserError
from graphopt.support.measure import difference
from graphopt.support.predicate import Is, Not, Predicate
from graphopt.support.table import Condition, Row, Table, Verdict, dump, load, text


def condition(data: object, **more: object) -> Condition:
    return Condition.model_validate({"must": data, **more})


def table(*rows: Row) -> Table:
    return Table(backend="toy", toolchain="toy 1.0", date="2026-01-02", rows=rows)


POOL = Row(
    op_type="AveragePool",
    since=(11, 19),
    status="native",
    verdict=Verdict(claimed=True, compiled=True, ran=True),
    require=(
        condition({"fact": "attr.ceil_mode", "in": [0]}, effect="wrong result", probes=["AveragePool-11/ceil_mode=1"]),
        condition({"fact": "input.0.rank", "min": 3, "max": 4}, effect="unmeasured"),
        condition(
            {
                "not": {
                    "all": [{"fact": "attr.pads", "in": ["asymmetric"]}, {"fact": "attr.count_include_pad", "in": [1]}]
                }
            }
        ),
    ),
)
facts = st.sampled_from(["attr.mode", "input.0.rank", "input.1.constant", "shapes"])
values = st.one_of(st.none(), st.booleans(), st.integers(-3, 9), st.text(max_size=4))
atoms = st.builds(lambda f, v: {"fact": f, "in": v}, facts, st.lists(values, min_size=1, max_size=3))
predicates = st.recursive(
    atoms,
    lambda inner: inner.map(lambda p: {"not": p}) | st.lists(inner, min_size=1, max_size=3).map(lambda p: {"all": p}),
)


@given(st.lists(predicates, max_size=4), st.text(max_size=20))
def test_a_table_comes_back_from_its_text(conditions: list[object], says: str) -> None:
    row = Row(op_type="Op", since=(1, 2), status="native", require=tuple(condition(c, says=says) for c in conditions))
    assert Table.model_validate_json(text(table(row, POOL))) == Table.model_validate_json(text(table(POOL, row)))
    assert set(Table.model_validate_json(text(table(row, POOL))).rows) == {row, POOL}


def test_rows_are_sorted_and_each_condition_has_a_line_of_its_own(tmp_path: Path) -> None:
    dump(table(POOL, Row(op_type="Abs", since=(6, 13), status="native")), tmp_path / "table.json")
    written = (tmp_path / "table.json").read_text()
    assert written.index('"Abs"') < written.index('"AveragePool"')
    assert sum("must" in line for line in written.splitlines()) == 3
    assert all(line.count("must") <= 1 for line in written.splitlines())
    assert json.loads(written)["schema"] == "graphopt.support/1"
    assert list(tmp_path.iterdir()) == [tmp_path / "table.json"]


def test_a_file_is_parsed_once_until_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    dump(table(POOL), file)
    first = load(file)
    assert load(file) is first
    dump(table(), file)
    os.utime(file, ns=(1, 1))
    assert load(file).rows == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Invalid JSON"),
        ("[]", "graphopt.support/1"),
        ('{"schema": "graphopt.support/9", "backend": "x", "toolchain": "y", "date": "z"}', "schema"),
        (text(table(POOL)).replace('"in": [0]', '"on": [0]'), "must"),
        (text(table(POOL)).replace('"native"', '"perhaps"'), "rows.0.status"),
    ],
)
def test_a_bad_file_is_named_with_the_place(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "table.json"
    file.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        load(file)
    assert str(file) in str(caught.value)


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="graphopt probe"):
        load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"fact": "attr.ceil_mode", "in": [0]}, "attribute ceil_mode must be 0"),
        ({"fact": "input.1.constant", "in": [True]}, "input 1 must be a constant"),
        ({"fact": "input.0.rank", "min": 1, "max": 5}, "the rank of input 0 must be between 1 and 5"),
        ({"fact": "input.0.dtype", "in": ["float32", "float16"]}, "the dtype of input 0 must be float32 or float16"),
        ({"fact": "shapes", "in": ["static"]}, "its shapes must be static"),
        ({"fact": "input.2.present", "in": [False]}, "input 2 must be absent"),
        (
            {"not": {"all": [{"fact": "attr.a", "in": [1]}, {"fact": "attr.b", "in": [2]}]}},
            "not at once: attribute a is 1 and attribute b is 2",
        ),
    ],
)
def test_a_predicate_reads_as_a_sentence(data: object, sentence: str) -> None:
    assert condition(data).must.sentence() == sentence


def test_a_predicate_holds_fails_or_cannot_be_told() -> None:
    must: Predicate = Is.model_validate({"fact": "attr.x", "in": [1]})
    assert [must.holds(f) for f in ({"attr.x": 1}, {"attr.x": 2}, {"attr.x": "unknown"}, {})] == [
        True,
        False,
        None,
        True,
    ]
    assert must.holds({"attr.x": True}) is False
    never = Not.model_validate({"not": {"all": [{"fact": "attr.x", "in": [1]}, {"fact": "attr.y", "in": [2]}]}})
    assert never.holds({"attr.x": 1, "attr.y": 2}) is False
    assert never.holds({"attr.x": 1, "attr.y": 3}) is True
    assert never.holds({"attr.x": 1, "attr.y": "unknown"}) is None
    assert never.holds({"attr.x": 1}) is True


def test_the_difference_of_two_tables_names_what_changed() -> None:
    after = POOL.model_copy(update={"require": POOL.require[1:]})
    new = table(after, Row(op_type="Abs", since=(6, 13), status="native")).model_copy(update={"toolchain": "toy 2.0"})
    assert difference(table(POOL), new) == [
        "toolchain: toy 1.0 → toy 2.0",
        "+ Abs-6…13: native",
        "~ AveragePool-11…19: no longer: attribute ceil_mode must be 0 (wrong result)",
    ]
    assert difference(new, new) == []
