"""Random probes that help to infer a table, asked in rounds until the table foretells the answers.

The sweeps change one thing at a time; what interacts shows only in probes that change several. Each round is an
examination first: what was learnt so far is held against probes that it was not learnt from. Then the round is learnt
from, too. An operator that passes without a mistake is done; the others are asked again. So probes go where a table is
still wrong, and when they end its agreement is known without the probes that validate it (`validate`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from graphopt.support.case import qualified
from graphopt.support.companions import companions
from graphopt.support.generate import generate
from graphopt.support.infer import rows
from graphopt.support.probe import Probe
from graphopt.support.result import Result
from graphopt.support.table import Reads, Row, Table
from graphopt.support.validate import judge

SIZE: Final = 20
"""Random probes of each operator in a round."""
LEAST: Final = 2
"""Rounds that every operator is asked."""
MOST: Final = 8
"""Rounds after which an operator is left as it is."""
SEED: Final = "training"
"""Seed of the rounds; tables are validated with another one."""

Ask = Callable[[Sequence[Probe]], list[Result]]


def train(
    names: Sequence[str],
    ask: Ask,
    known: Iterable[Result],
    *,
    beside: Sequence[Row] = (),
    reads: Reads | None = None,
    least: int = LEAST,
    most: int = MOST,
) -> list[Row]:
    """Ask random probes of operators in rounds, and infer rows from them and from what is known already.

    Args:
        names: the operators, as in "Conv" or "com.microsoft::Gelu".
        ask: gives the vendor's answers to probes.
        known: what the sweeps found, of these operators and of those that their probes show besides.
        beside: rows of other operators that stand in the probes.
        reads: what the toolchain takes of a model as a whole.
        least: rounds that every operator is asked.
        most: rounds after which an operator is left as it is.
    """
    whole = reads or Reads(foresight="constants")
    ahead = whole.foresight != "none"
    evidence = list(known)
    found = rows(evidence, ahead=ahead)
    waiting = list(names)
    for number in range(most):
        asked = [probe for name in waiting for probe in generate(name, SIZE, f"{SEED}{number}")]
        answers = ask(asked)
        learnt = Table(backend="", toolchain="", date="", reads=whole, rows=(*found, *beside))
        judged = judge(asked, answers, learnt)
        wrong = {qualified(item.result.domain, item.result.op_type) for item in judged if not item.agrees}
        evidence += [*answers, *companions(asked, answers)]
        found = rows(evidence, ahead=ahead)
        waiting = [name for name in waiting if name in wrong or number + 1 < least]
        if not waiting:
            break
    return found
