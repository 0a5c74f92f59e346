"""Bring a graph into its plainest form: every canonicalization together, until nothing changes.

Constants are folded, and the rules of eliminate-identity and merge-* share one worklist, so that what
one of them opens another takes at once. Fidelity: exact.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.ir.infer import infer_shapes
from graphopt.pipeline import Context, Pass, PassResult
from graphopt.rewrite import apply_rules
from graphopt_passes.canonicalize.eliminate_dead_code import EliminateDeadCode
from graphopt_passes.canonicalize.eliminate_identity import EliminateIdentity
from graphopt_passes.canonicalize.fold_constants import FoldConstants, fold
from graphopt_passes.canonicalize.merge_casts import MergeCasts
from graphopt_passes.canonicalize.merge_reshapes import MergeReshapes
from graphopt_passes.canonicalize.merge_transposes import MergeTransposes

MEMBERS = (EliminateIdentity, MergeTransposes, MergeReshapes, MergeCasts)
RULES = tuple(rule for member in MEMBERS for rule in member.rules)
_ROUNDS = 16


class Canonicalize(Pass):
    """Fold, eliminate and merge until the graph is in its plainest form."""

    name = "canonicalize"
    fidelity = "exact"
    idempotent = True

    @dataclass(frozen=True)
    class Options(FoldConstants.Options):
        """As fold-constants."""

    def run(self, model, context: Context) -> PassResult:
        """Fold and rewrite in turns."""
        budget = self.options.budget(model)
        counts: dict[str, int] = {}
        log, misses, problems = [], [], []
        for _ in range(_ROUNDS):
            infer_shapes(model)
            folded, failed = fold(model, budget)
            outcome = apply_rules(model, RULES, made_by=self.name, explain=context.explain)
            log += outcome.rewrites
            misses, problems = outcome.misses, failed
            for name, count in (("folded", folded), *outcome.counts.items()):
                counts[name] = counts.get(name, 0) + count
            if not folded and not outcome.rewrites:
                break
        dead = EliminateDeadCode().run(model, context)
        counts["dead"] = dead.rewrites
        detail = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count)
        if problems:
            detail += f"; {len(problems)} not folded since no evaluator has a kernel, first {problems[0]}"
        return PassResult(sum(counts.values()), detail, log=tuple(log), misses=tuple(misses))
