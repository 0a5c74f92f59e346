"""The driver: a worklist of nodes and an index of rules by operator, so that cost follows the nodes touched.

Every node whose operator is the root of some rule is looked at once. A rewrite puts back only what it may have
enabled: the nodes that it made, and the readers of values that changed their maker or lost a reader, as far down as
the deepest pattern reaches. Nothing is scanned again.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import onnx_ir as ir

from graphopt.errors import PassError
from graphopt.ir.edit import nodes_of, owners, readers
from graphopt.ir.validate import describe
from graphopt.rewrite.apply import Rewrite, Rewriter
from graphopt.rewrite.glance import glance
from graphopt.rewrite.match import Match
from graphopt.rewrite.rule import Rule

_WIDEST = 256
"""Readers of one value beyond which only the first are looked at again after a change."""


@dataclass(frozen=True)
class NearMiss:
    """Where a rule did not fire: the node where a condition failed, and which."""

    rule: str
    at: str
    node: str
    reason: str


@dataclass
class Outcome:
    """What the driver did."""

    rewrites: list[Rewrite] = field(default_factory=list)
    misses: list[NearMiss] = field(default_factory=list)

    @property
    def counts(self) -> Counter[str]:
        """Applications by rule."""
        return Counter(r.rule for r in self.rewrites)


def apply_rules(
    model: ir.Model, rules: Sequence[Rule], *, made_by: str = "", explain: Iterable[str] = (), limit: int | None = None
) -> Outcome:
    """Apply rules everywhere (main graph, bodies, functions) until none fires.

    Args:
        model: changed in place.
        rules: where several fire at one node, the first does.
        made_by: name of the pass, stamped on new nodes.
        explain: names of rules to record near misses of.
        limit: applications after which the rules count as not terminating; default 20 per node and 1,000 more.

    Raises:
        PassError: the rules do not terminate, or a replacement is malformed; names the rule.
    """
    return _Driver(model, rules, made_by, frozenset(explain), limit).run()


class _Driver:
    def __init__(
        self, model: ir.Model, rules: Sequence[Rule], made_by: str, explain: frozenset[str], limit: int | None
    ) -> None:
        self.model, self.explain = model, explain
        self.rewriter = Rewriter(model, made_by)
        self.outcome = Outcome()
        self.index: dict[tuple[str, str], list[Rule]] = {}
        self.reach = max((rule.depth for rule in rules), default=1)
        for rule in rules:
            if rule.replacement is None:
                raise PassError(f"rule {rule.name} has no replacement")
            for op_type in rule.roots[0].types:
                self.index.setdefault((rule.roots[0].domain, op_type), []).append(rule)
        self.queue: deque[ir.Node] = deque()
        self.queued: set[ir.Node] = set()
        nodes = 0
        for owner in owners(model):
            for node in nodes_of(owner):
                nodes += 1
                self.enqueue(node)
        self.limit = limit if limit is not None else 20 * nodes + 1000

    def enqueue(self, node: ir.Node) -> None:
        if (node.domain, node.op_type) in self.index and node not in self.queued:
            self.queued.add(node)
            self.queue.append(node)

    def run(self) -> Outcome:
        while self.queue:
            node = self.queue.popleft()
            self.queued.discard(node)
            if node.graph is None:
                continue
            seen = glance(node)
            for rule in self.index[node.domain, node.op_type]:
                match = rule.match(node, seen)
                if match is None:
                    if rule.name in self.explain:
                        self._explain(rule, node)
                elif self._apply(rule, match):
                    break
        self.rewriter.finish()
        return self.outcome

    def _apply(self, rule: Rule, match: Match) -> bool:
        applied = self.rewriter.apply(rule, match)
        if applied is None:
            if rule.name in self.explain:
                at = describe(match.root)
                self.outcome.misses.append(NearMiss(rule.name, at, at, self.rewriter.declined))
            return False
        self.outcome.rewrites.append(applied.record)
        if len(self.outcome.rewrites) > self.limit:
            last = ", ".join(dict.fromkeys(r.rule for r in self.outcome.rewrites[-50:]))
            raise PassError(f"the rules do not come to an end (lately: {last})")
        self._wake(applied.touched)
        return True

    def _explain(self, rule: Rule, node: ir.Node) -> None:
        failure = rule.why_not(node)
        if failure is not None:
            at, reason = failure
            self.outcome.misses.append(NearMiss(rule.name, describe(node), describe(at), reason))

    def _wake(self, nodes: Iterable[ir.Node]) -> None:
        """Look again at nodes and at what lies below them, as far down as a pattern can reach."""
        level = list(dict.fromkeys(nodes))
        seen = set(level)
        for _ in range(self.reach):
            below: list[ir.Node] = []
            for node in level:
                self.enqueue(node)
                for value in node.outputs:
                    for user in islice(readers(value), _WIDEST):
                        if user not in seen:
                            seen.add(user)
                            below.append(user)
            level = below
