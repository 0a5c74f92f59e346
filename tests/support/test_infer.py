"""Conditions that are planted into a made-up vendor come out of its verdicts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
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


@settings(deadline=None)
@given(planted_limits)
def test_limits_on_single_facts_come_out_of_one_change_at_a_time(limits: dict[str, frozenset[Fact]]) -> None:
    def vendor(facts: Facts) -> bool:
        return not any(facts[name] in refused for name, refused in limits.items())

    (row,) = rows(result(facts, vendor(facts), core=facts == BASE) for facts in one_change())
    assert [takes(row, facts) for facts in everything()] == [vendor(facts) for facts in everything()]
    assert row.doubtful == ()


@settings(deadline=None)
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


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(everything()), st.booleans()), min_size=1, max_size=40))
def test_whatever_was_refused_is_never_promised_but_for_an_exception_among_many(
    verdicts: list[tuple[dict[str, Fact], bool]],
) -> None:
    (row,) = rows(result(facts, taken, label=f"{i}") for i, (facts, taken) in enumerate(verdicts))
    for index, (facts, taken) in enumerate(verdicts):
        alike = [other for same, other in verdicts if same == facts]
        if not taken and alike.count(True) < 4 * alike.count(False):
            assert not takes(row, facts)
        elif not taken:
            assert not takes(row, facts) or f"Toy-11/{index}" in row.doubtful


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


def test_a_core_form_that_most_alike_probes_contradict_is_not_promised() -> None:
    other = {**BASE, "input.0.rank": 4}
    refused = [result(other, False, label=f"refused {i}") for i in range(3)]
    (row,) = rows([result(BASE, True, label="base", core=True), result(other, True, label="core", core=True), *refused])
    assert takes(row, BASE)
    assert not takes(row, other)


def test_a_rank_between_two_that_are_taken_is_taken_and_one_beyond_is_not() -> None:
    (row,) = rows(result({**BASE, "input.0.rank": rank}, True, label=f"{rank}") for rank in (2, 4))
    assert takes(row, {**BASE, "input.0.rank": 3})
    assert not takes(row, {**BASE, "input.0.rank": 5})
    assert not takes(row, {**BASE, "input.0.rank": 1})


def test_a_rank_between_that_was_refused_is_not_taken() -> None:
    (row,) = rows(result({**BASE, "input.0.rank": rank}, rank != 3, label=f"{rank}") for rank in (2, 3, 4))
    assert takes(row, {**BASE, "input.0.rank": 4})
    assert not takes(row, {**BASE, "input.0.rank": 3})


def test_a_forbidden_combination_covers_all_values_that_the_evidence_refuses_and_no_others() -> None:
    """Cubic and linear are refused from rank 3 on: one condition says so, also of rank 5, where nobody has been."""

    def vendor(facts: Facts) -> bool:
        return not (facts["attr.mode"] != "nearest" and facts["input.0.rank"] in (3, 4))

    probed = [*everything(), {**BASE, "input.0.rank": 5}]
    (row,) = rows(result(facts, vendor(facts)) for facts in probed)
    assert all(takes(row, facts) == vendor(facts) for facts in probed)
    (forbidden,) = [condition for condition in row.require if condition.effect == "rejected"]
    assert len(list(forbidden.must.facts())) == 2
    assert not takes(row, {**BASE, "attr.mode": "cubic", "input.0.rank": 5})


def test_what_other_versions_took_counts_where_a_version_does_not_contradict_it() -> None:
    cubic = {**BASE, "attr.mode": "cubic"}
    deep = {**BASE, "input.0.rank": 4}
    old = [result(BASE, True, 11, "base", core=True), result(cubic, True, 11, "cubic"), result(deep, True, 11, "deep")]
    new = [result(BASE, True, 13, "base", core=True), result(deep, False, 13, "deep", core=True)]
    first, second = rows([*old, *new])
    assert (first.since, second.since) == ((11, 11), (13, 13))
    assert takes(first, cubic)
    assert takes(second, cubic)
    assert takes(first, deep)
    assert not takes(second, deep)


def test_a_version_that_only_random_probes_asked_about_shares_the_row_before_it() -> None:
    random = result({**BASE, "attr.mode": "linear"}, False, 13, "random:x-0")
    (row,) = rows([result(BASE, True, 11, "base", core=True), random])
    assert row.since == (11, 13)
    assert not takes(row, random.facts)


def folded(facts: Facts, taken: bool, label: str = "", since: int = 11, core: bool = False) -> Result:
    return result({**facts, "inputs.foldable": True}, taken, since, label, core)


def test_what_is_taken_only_on_constants_is_folded_and_nothing_that_computes_is_promised() -> None:
    computed = [result({**BASE, "inputs.foldable": False}, False, core=True)]
    rows_ = rows([*computed, folded(BASE, True, core=True)])
    assert {row.status for row in rows_} == {"unsupported", "folded"}
    assert not any(takes(row, {**BASE, "inputs.foldable": False}) for row in rows_)
    assert any(takes(row, {**BASE, "inputs.foldable": True}) for row in rows_)


def test_constants_that_are_folded_say_nothing_of_the_dtypes_that_are_computed() -> None:
    computed = [result({**BASE, "inputs.foldable": False}, True, core=True)]
    native, ahead = rows([*computed, folded({**BASE, "input.0.dtype": "int8"}, True)])
    assert (native.status, ahead.status) == ("native", "folded")
    assert not takes(native, {**BASE, "input.0.dtype": "int8", "inputs.foldable": False})
    assert takes(ahead, {**BASE, "input.0.dtype": "int8", "inputs.foldable": True})


def test_of_what_is_folded_only_what_was_refused_is_forbidden() -> None:
    bad = {**BASE, "input.0.dtype": "int8"}
    several = [folded({**BASE, "input.0.rank": rank}, True, f"{rank}") for rank in (1, 2, 3)]
    refused = [folded({**bad, "input.0.rank": rank}, False, f"bad {rank}") for rank in (1, 2)]
    (row,) = rows([*several, *refused])
    assert row.status == "folded"
    assert takes(row, {**BASE, "input.0.rank": 6, "attr.mode": "cubic", "inputs.foldable": True})
    assert not takes(row, {**bad, "inputs.foldable": True})


def test_the_dequantization_of_constant_weights_is_not_folded() -> None:
    weights = replace(folded(BASE, True), op_type="DequantizeLinear")
    assert [row.status for row in rows([weights])] == ["native"]


def test_a_toolchain_that_computes_nothing_ahead_has_no_folded_rows() -> None:
    computed = [result({**BASE, "inputs.foldable": False}, True, core=True)]
    (row,) = rows([*computed, folded(BASE, True)], ahead=False)
    assert row.status == "native"
    assert takes(row, {**BASE, "inputs.foldable": True})


def test_a_batch_of_several_is_forbidden_only_where_it_was_refused() -> None:
    one = [result({**BASE, "batch": "one", "input.0.rank": rank}, True) for rank in (1, 2, 3)]
    (row,) = rows(one)
    assert takes(row, {**BASE, "batch": "several"})
    several = [result({**BASE, "batch": "several", "input.0.rank": rank}, False) for rank in (1, 2, 3)]
    (row,) = rows([*one, *several])
    assert takes(row, {**BASE, "batch": "one"})
    assert not takes(row, {**BASE, "batch": "several"})
