"""What two models compute from the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from graphopt.diff.model import OutputChange, Outputs
from graphopt.errors import UserError
from graphopt.verify import Sample, generate, judge, real_inputs


def outputs(
    first: ir.Model,
    second: ir.Model,
    dims: Mapping[str, int | tuple[int, ...]],
    samples: int,
    given: Callable[[ir.Model], list[Sample]] | None = None,
) -> Outputs:
    """Run both models on the same inputs and hold the outputs against each other.

    Args:
        first, second: the models; left as they are.
        dims: sizes at which both can run.
        samples: how many inputs; with 0 nothing runs.
        given: the user's own inputs; generated ones where None.
    """
    if not samples:
        return Outputs("unknown", "nothing was run: --samples 0")
    mine, theirs = ({v.name for v in real_inputs(m)} for m in (first, second))
    if mine != theirs:
        only = [f"only the {which} takes {_listed(names)}" for which, names in
                (("first", mine - theirs), ("second", theirs - mine)) if names]  # fmt: skip
        return Outputs("unknown", f"there are no inputs that both take: {', '.join(only)}")
    try:
        fed = given(first) if given is not None else list(generate(first, dims=dims, samples=samples))
    except UserError as error:
        if given is not None:
            raise
        return Outputs("unknown", str(error))
    verdict = judge(first, second, fed, "rounding")
    sizes = {name: tuple(array.shape) for name, array in fed[0].items()} if fed else {}
    records = tuple(
        OutputChange(e.name, e.equal, e.max_abs_error, e.max_rel_error, e.sqnr_db, e.problem) for e in verdict.errors
    )
    reason = verdict.reason.replace("the optimized model", "the second").replace("the original", "the first")
    if verdict.status == "skipped":
        hint = "" if given is not None else "; other sizes (--dim) or your own samples (--calibration) may run"
        return Outputs("unknown", reason + hint, len(fed), sizes, records)
    if verdict.status == "failed":
        return Outputs("different", reason, len(fed), sizes, records)
    exact = all(record.equal for record in records)
    return Outputs("identical" if exact else "rounding", reason, len(fed), sizes, records)


def _listed(names: set[str | None]) -> str:
    return ", ".join(sorted(name or "" for name in names))
