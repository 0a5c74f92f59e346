"""Conditions that are planted into a made-up vendor come out of its verdicts."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from graphopt.support.infer import Result, rows
from graphopt.support.predicate import Fact, Facts
from graphopt.support.table import Row

DOMAIN: dict[str, tuple[Fact, ...]] = {
    "input.0.dtype": ("float32", "float16", "int8"),
    "input.0.rank": (1, 2, 3, 4),
    "input.1.constant": (True, False),
    "attr.mode": ("nearest", "linear", "cubic"),
    "attr.axis": ("first", "last"),
}
BASE: dict[str, Fact] = {name: values[0] for name, values in DOMAIN.items()}


def result(facts: Facts, taken: bool, since: int = 11, label: str = "", core: bool = False) -> Result:
    name = f"Toy-{since}/{label or ','.join(f'{key}={value}' for key, value in facts.items())}"
    return Result(
        name, "Toy", "", since, core, facts, claimed=taken, compiled=taken,
        effect=None if taken else "rejected", says="" if taken else "no",
    )  # fmt: skip


def takes(row: Row, facts: Facts) -> bool:
    return row.status != "unsupported" and all(condition.must.holds(facts) is True for condition in row.require)


def everything() -> list[dict[str, Fact]]:
    return [dict(zip(DOMAIN, values, strict=True)) for values in itertools.product(*DOMAIN.values())]


def one_change() -> list[dict[str, Fact]]:
    return [BASE, *({**BASE, name: value} for name, values in DOMAIN.items() for value in values[1:])]


planted_limits = st.fixed_dictionaries(
    {name: st.sets(st.sampled_from(values[1:])).map(frozenset) for name, values in DOMAIN.items()}
)


@given(planted_limits)
def test_limits_on_single_facts_come_out_of_one_change_at_a_time(limits: dict[str, frozenset[Fact]]) -> None:
    def vendor(facts: Facts) -> bool:
        return not any(facts[name] in refused for name, refused in limits.items())

    (row,) = rows(result(facts, vendor(facts), core=facts == BASE) for facts in one_change())
    assert [takes(row, facts) for facts in everything()] == [vendor(facts) for facts in everything()]
    assert row.doubtful == ()


@given(st.data())
def test_a_forbidden_combination_comes_out_with_its_probes(data: st.DataObject) -> None:
    first, second = data.draw(st.lists(st.sampled_from(sorted(DOMAIN)), min_size=2, max_size=2, unique=True))
    a, b = (data.draw(st.sampled_from(DOMAIN[name][1:])) for name in (first, second))

    def vendor(facts: Facts) -> bool:
        return not (facts[first] == a and facts[second] == b)

    (row,) = rows(result(facts, vendor(facts)) for facts in everything())
    assert all(takes(row, facts) == vendor(facts) for facts in everything())
    refusing = [condition for condition in row.require if condition.effect == "rejected"]
    assert len(refusing) == 1
    assert all(f"{first}={a}" in probe and f"{second}={b}" in probe for probe in refusing[0].probes)


@given(st.lists(st.tuples(st.sampled_from(everything()), st.booleans()), min_size=1, max_size=40))
def test_whatever_was_refused_is_never_promised(verdicts: list[tuple[dict[str, Fact], bool]]) -> None:
    (row,) = rows(result(facts, taken, label=f"{i}") for i, (facts, taken) in enumerate(verdicts))
    refused = [facts for facts, taken in verdicts if not taken]
    assert not any(takes(row, facts) for facts in refused)


def test_values_that_no_probe_had_are_not_promised() -> None:
    (row,) = rows([result(BASE, True), result({**BASE, "input.0.rank": 2}, True)])
    assert takes(row, BASE)
    for unseen in ({"input.0.rank": 5}, {"attr.mode": "linear"}, {"input.0.dtype": "bfloat16"}):
        assert not takes(row, {**BASE, **unseen})
    assert {condition.effect for condition in row.require} == {"unmeasured"}


def test_a_fact_that_the_probes_versions_lack_puts_no_condition() -> None:
    (row,) = rows([result(BASE, True)])
    assert takes(row, {name: value for name, value in BASE.items() if name != "attr.axis"})


def test_an_unknown_fact_is_never_enough() -> None:
    (row,) = rows([result(BASE, True)])
    assert not takes(row, {**BASE, "input.0.dtype": "unknown"})


def test_luck_in_one_size_does_not_clear_a_wrong_result_in_another() -> None:
    ceil = {**BASE, "attr.ceil_mode": 1}
    floor = {**BASE, "attr.ceil_mode": 0}
    (row,) = rows([result(floor, True, core=True), result(ceil, True, label="even"), result(ceil, False, label="odd")])
    assert takes(row, floor)
    assert not takes(row, ceil)


def test_an_operator_that_is_only_ever_right_by_luck_is_unsupported() -> None:
    (row,) = rows([result(BASE, False, core=True), result(BASE, True, label="lucky")])
    assert (row.status, row.effect) == ("unsupported", "rejected")


def test_an_operator_test_of_odd_values_that_is_rejected_does_not_forbid_the_ordinary_form() -> None:
    (row,) = rows([result(BASE, True), result(BASE, False, label="suite:odd")])
    assert takes(row, BASE)
    assert row.doubtful == ("Toy-11/suite:odd",)


def test_a_base_form_refused_for_a_reason_that_no_fact_tells_is_doubtful_not_forbidden() -> None:
    (row,) = rows([result(BASE, True, core=True), result(BASE, False, label="huge")])
    assert takes(row, BASE)
    assert row.doubtful == ("Toy-11/huge",)


def versions(answer: Callable[[int], bool]) -> list[tuple[tuple[int, int], str]]:
    results = [result(BASE, answer(since), since, "base", core=True) for since in (7, 11, 13)]
    return [(row.since, row.status) for row in rows(results)]


def test_versions_that_answer_alike_share_a_row_and_others_do_not() -> None:
    assert versions(lambda since: True) == [((7, 13), "native")]
    assert versions(lambda since: since < 13) == [((7, 11), "native"), ((13, 13), "unsupported")]
