"""The record of a difference; the terminal, the JSON and the page are three renderings of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

SCHEMA = "graphopt.diff/1"

Verdict = Literal["identical", "same", "different"]


@dataclass(frozen=True)
class Side:
    """The totals of one model; see `graphopt.inspection.Inspection`."""

    path: str
    nodes: int
    parameters: int
    bytes: int
    macs: int
    activation_peak: int
    operators: Mapping[str, int]


@dataclass(frozen=True)
class Change:
    """Something that is one thing in the first model and another in the second.

    Attributes:
        what: "input x", "opset ai.onnx", "metadata author", "ir_version", …
        before, after: as text; None where it is not there.
    """

    what: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class NodeChange:
    """A node that is in both models, with something changed at it.

    Attributes:
        node, other: its names.
        op_type: its operator.
        changes: attributes, inputs, output shapes; that a constant has another content is a `WeightChange`.
    """

    node: str
    other: str
    op_type: str
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Group:
    """Nodes of the first model that others of the second stand for.

    Attributes:
        before, after: names.
        operators_before, operators_after: their operators.
        by: the pass that made those of the second, "" where it does not say.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    operators_before: tuple[str, ...]
    operators_after: tuple[str, ...]
    by: str = ""


@dataclass(frozen=True)
class Node:
    """A node that only one of the models has, and the pass that made it, "" where it does not say."""

    node: str
    op_type: str
    by: str = ""


@dataclass(frozen=True)
class WeightChange:
    """A constant with another content.

    Attributes:
        node: the node that reads it.
        name, other: of the constants.
        kind: type and shape, as "float32[64,3,3,3]"; of both, where they are not alike.
        max_abs: the largest difference; None where the shapes differ.
        max_rel: the same as a share of the largest magnitude.
        sqnr_db: energy of the first over that of the difference, in decibels.
    """

    node: str
    name: str
    other: str
    kind: str
    max_abs: float | None = None
    max_rel: float | None = None
    sqnr_db: float | None = None


@dataclass(frozen=True)
class OutputChange:
    """How far an output of the second is from the first's, in the worst sample; see `graphopt.verify.OutputError`."""

    name: str
    equal: bool
    max_abs_error: float
    max_rel_error: float
    sqnr_db: float
    problem: str = ""


@dataclass(frozen=True)
class Outputs:
    """What both compute from the same inputs.

    Attributes:
        status: "identical" to the last bit, "rounding" (as far apart as another order of the same additions puts
            them), "different", or "unknown" where they could not be compared.
        reason: why, in one clause; "" where there is nothing to say.
        samples: how many inputs.
        sizes: the shape of each input.
        outputs: a record each.
    """

    status: Literal["identical", "rounding", "different", "unknown"]
    reason: str = ""
    samples: int = 0
    sizes: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    outputs: tuple[OutputChange, ...] = ()


@dataclass(frozen=True)
class Difference:
    """How two models differ.

    Attributes:
        verdict: "identical" in all that counts; "same" where the outputs are within rounding and the signatures agree;
            "different" else.
        reason: what decided, in one clause.
        first, second: totals.
        model: changes of the signature, operator sets, metadata, functions.
        equal: nodes that compute the same from the same.
        carried: nodes that are the same themselves, with something changed before them.
        changed: nodes that are in both, with something changed at them.
        rewritten: nodes that others stand for.
        removed, added: nodes that only the first or only the second has.
        weights: constants with another content, the most changed first.
        outputs: what both compute.
    """

    verdict: Verdict
    reason: str
    first: Side
    second: Side
    model: tuple[Change, ...]
    equal: int
    carried: int
    changed: tuple[NodeChange, ...]
    rewritten: tuple[Group, ...]
    removed: tuple[Node, ...]
    added: tuple[Node, ...]
    weights: tuple[WeightChange, ...]
    outputs: Outputs

    def named(self, first: str, second: str) -> Difference:
        """The same with the files called so, where one went through a temporary file."""
        a, b = dataclasses.replace(self.first, path=first), dataclasses.replace(self.second, path=second)
        return dataclasses.replace(self, first=a, second=b)

    def as_json(self) -> dict[str, Any]:
        """The object of the schema "graphopt.diff/1"."""
        return {"schema": SCHEMA, **dataclasses.asdict(self)}
