"""A whole plugin: a pass that is one rule, and a backend that is one table."""

from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt.support.backend import Backend, CompileResult, ExecutionResult
from graphopt.support.table import Row, Table


@rule("neg-neg", fidelity="exact")
def cancel(p):
    return p.Neg(p.Neg(p.x))


@cancel.replace
def _(op, m):
    return m.x


class CancelNegations(RewritePass):
    """Take away two negations in a row."""

    name = "cancel-negations"
    rules = (cancel,)


class Paper(Backend):
    """A target that is known by its table alone: there is nothing to install."""

    name, title, suffix, extra = "paper", "Paper", ".txt", "paper"

    def table(self):
        return Table(
            backend="paper",
            toolchain="pencil 1",
            date="2026-01-01",
            rows=(Row(op_type="Relu", since=(6, 14), status="native"),),
        )

    def recipe(self):
        return '[[pass]]\nname = "cancel-negations"\n'

    def toolchain(self):
        return None

    def compile(self, model, artifact, *, targets=(), timeout=600.0):
        return CompileResult("failed", "pencil 1")

    def execute(self, compiled, model, samples, *, timeout=600.0):
        return ExecutionResult("unavailable")
