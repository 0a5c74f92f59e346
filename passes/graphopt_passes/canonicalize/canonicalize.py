"""Bring a graph into its plainest form: every canonicalization together, until nothing changes.

Constants are folded, and the rules of eliminate-identity and merge-* share one worklist, so that what
one of them opens another takes at once. Fidelity: exact.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from graphopt.ir.infer import infer_shapes
from graphopt.pipeline import Context, Pass, PassResult
from graphopt.rewrite import Rewrite, apply_rules
from graphopt_passes.canonicalize.common_subexpressions import merge_equal
from graphopt_passes.canonicalize.constant_shapes import ConstantShapes
from graphopt_passes.canonicalize.control_flow import simplify_control_flow
from graphopt_passes.canonicalize.deduplicate_weights import deduplicate
from graphopt_passes.canonicalize.drop_zero_state import drop_zero_states
from graphopt_passes.canonicalize.eliminate_dead_code import EliminateDeadCode
from graphopt_passes.canonicalize.eliminate_degenerate import EliminateDegenerate
from graphopt_passes.canonicalize.eliminate_identity import EliminateIdentity
from graphopt_passes.canonicalize.fold_constants import FoldConstants, fold
from graphopt_passes.canonicalize.gather_of_concat import GatherOfConcat
from graphopt_passes.canonicalize.inline_functions import inline_functions
from graphopt_passes.canonicalize.merge_casts import MergeCasts
from graphopt_passes.canonicalize.merge_clips import MergeClips
from graphopt_passes.canonicalize.merge_concats import MergeConcats
from graphopt_passes.canonicalize.merge_gathers import MergeGathers
from graphopt_passes.canonicalize.merge_pads import MergePads
from graphopt_passes.canonicalize.merge_reshapes import MergeReshapes
from graphopt_passes.canonicalize.merge_slices import MergeSlices
from graphopt_passes.canonicalize.merge_splits import MergeSplits
from graphopt_passes.canonicalize.merge_squeezes import MergeSqueezes
from graphopt_passes.canonicalize.merge_transposes import MergeTransposes
from graphopt_passes.canonicalize.move_signs import MoveSigns
from graphopt_passes.canonicalize.remove_expands import RemoveExpands
from graphopt_passes.canonicalize.resolve_optionals import ResolveOptionals
from graphopt_passes.canonicalize.resolve_sequences import ResolveSequences
from graphopt_passes.canonicalize.set_keepdims import SetKeepdims
from graphopt_passes.canonicalize.shape_arithmetic import shorten
from graphopt_passes.canonicalize.simplify_arithmetic import SimplifyArithmetic
from graphopt_passes.canonicalize.simplify_logic import SimplifyLogic
from graphopt_passes.canonicalize.slices_to_split import divide

MEMBERS = (
    EliminateIdentity, MergeTransposes, MergeSqueezes, MergeReshapes, MergeCasts, MergeSlices, MergeSplits,
    MergeConcats, MergeGathers, GatherOfConcat, MergePads, MergeClips, SetKeepdims, RemoveExpands, ResolveOptionals,
    ResolveSequences, ConstantShapes, SimplifyArithmetic, SimplifyLogic, MoveSigns, EliminateDegenerate,
)  # fmt: skip
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
        counts = Counter(weights=deduplicate(model)[0], inlined=inline_functions(model, self.name)[0])
        log: list[Rewrite] = []
        for _ in range(_ROUNDS):
            before = counts.total()
            infer_shapes(model)
            folded, problems = fold(model, budget)
            counts.update(simplify_control_flow(model, self.name))
            counts.update({"folded": folded, "zero states": drop_zero_states(model)})
            outcome = apply_rules(model, RULES, made_by=self.name, explain=context.explain)
            done = [*outcome.rewrites, *merge_equal(model), *shorten(model), *divide(model, self.name)]
            counts.update(rewrite.rule for rewrite in done)
            log += done
            if counts.total() == before:
                break
        dead = EliminateDeadCode().run(model, context)
        counts["dead"] = dead.rewrites
        detail = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count)
        if problems:
            detail += f"; {len(problems)} not folded since no evaluator has a kernel, first {problems[0]}"
        return PassResult(counts.total(), detail, log=tuple(log), misses=tuple(outcome.misses))
