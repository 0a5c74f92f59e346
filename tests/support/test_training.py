"""Rounds of random probes: each is an examination before it is learnt from, and only who fails is asked again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from graphopt.support.generate import is_random
from graphopt.support.probe import Probe, probes
from graphopt.support.result import Result
from graphopt.support.table import Row, Table
from graphopt.support.training import LEAST, MOST, SEED, SIZE, train
from graphopt.support.validate import SEED as VALIDATION
from graphopt.support.validate import judge

Vendor = Callable[[Probe], bool]
BESIDE = [
    Row(op_type=op, since=(1, 99), status="native") for op in ("Cast", "Mul", "QuantizeLinear", "DequantizeLinear")
]


def answered(probe: Probe, vendor: Vendor) -> Result:
    return Result(
        probe.id, probe.op_type, probe.domain, probe.since, probe.core, probe.facts,
        effect=None if vendor(probe) else "rejected",
    )  # fmt: skip


def trained(names: Sequence[str], vendor: Vendor) -> tuple[Table, list[Probe]]:
    asked: list[Probe] = []

    def ask(questions: Sequence[Probe]) -> list[Result]:
        asked.extend(questions)
        return [answered(probe, vendor) for probe in questions]

    known = [answered(probe, vendor) for probe in probes(names)]
    found = train(names, ask, known, beside=BESIDE, most=4)
    return Table(backend="toy", toolchain="toy 1.0", date="2026-01-02", rows=(*found, *BESIDE)), asked


def test_an_operator_that_the_sweep_explains_is_asked_the_least_and_a_hard_one_more() -> None:
    """The vendor refuses, of Relu alone, what has to do with the sizes drawn, which no fact tells."""

    def vendor(probe: Probe) -> bool:
        return (
            probe.op_type != "Relu" or sum(len(array) if array.ndim else 1 for array in probe.inputs.values()) % 3 > 0
        )

    _, asked = trained(["Relu", "Neg"], vendor)
    count = Counter(probe.op_type for probe in asked)
    assert LEAST * SIZE >= count["Neg"] > (LEAST - 1) * SIZE
    assert count["Relu"] > LEAST * SIZE


def test_what_only_combinations_show_is_learnt_from_the_rounds() -> None:
    def vendor(probe: Probe) -> bool:
        return not (probe.facts.get("attr.keepdims") == 0 and probe.facts.get("axes") == "spatial")

    table, asked = trained(["ReduceMean"], vendor)
    assert all(is_random(probe.id) for probe in asked)
    judged = judge(asked, [answered(probe, vendor) for probe in asked], table)
    assert all(not item.supported for item in judged if not item.taken)
    assert sum(item.agrees for item in judged) / len(judged) > 0.95


def test_rounds_can_be_left_out() -> None:
    def ask(questions: Sequence[Probe]) -> list[Result]:
        pytest.fail(f"asked {len(questions)} probes")

    known = [answered(probe, lambda probe: True) for probe in probes(["Neg"])]
    assert [row.status for row in train(["Neg"], ask, known, most=0)][:1] == ["native"]


def test_training_and_validation_have_seeds_of_their_own() -> None:
    assert VALIDATION not in {f"{SEED}{number}" for number in range(MOST)}
