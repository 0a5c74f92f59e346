"""A probe and the vendor's answer to it, as evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from graphopt.support.predicate import Fact
from graphopt.support.table import Effect


@dataclass(frozen=True)
class Result:
    """A probe and the vendor's answer.

    Attributes:
        id, op_type, domain, since, core, facts: the probe's.
        claimed, compiled, ran, numerics: the four answers; None where not measured.
        effect: None for a probe that was taken, else what happened.
        says: the vendor's words.
        realized_as: the vendor's ops.
        precision: at which precision it executed, "" where not known.
    """

    id: str
    op_type: str
    domain: str
    since: int
    core: bool
    facts: Mapping[str, Fact]
    claimed: bool | None = None
    compiled: bool | None = None
    ran: bool | None = None
    numerics: Literal["pass", "fail"] | None = None
    effect: Effect | None = None
    says: str = ""
    realized_as: tuple[str, ...] = ()
    precision: str = ""

    @property
    def label(self) -> str:
        """What is special about the probe, without operator and version."""
        return self.id.partition("/")[2]
