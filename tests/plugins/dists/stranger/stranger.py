"""A whole plugin: a pass that is one rule, functions that are passes, a backend that is one table, and a command."""

import click
import onnx

from graphopt.pipeline import RewritePass, function_pass, graphsurgeon_pass
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


@function_pass("rename-nodes", fidelity="exact")
def rename_nodes(model, *, words: tuple[str, ...] = ("node",), start: int = 0):
    """Name nodes with words in turn."""
    for index, node in enumerate(model.graph):
        node.name = f"{words[index % len(words)]}{index + start}"
    return len(model.graph)


@graphsurgeon_pass("surgery", fidelity="exact")
def surgery(graph):
    """Take away two negations in a row, as onnx-graphsurgeon does it."""
    for node in graph.nodes:
        if node.op == "Neg" and node.inputs[0].inputs and node.i().op == "Neg":
            for reader in list(node.outputs[0].outputs):
                reader.inputs = [node.i().inputs[0] if one is node.outputs[0] else one for one in reader.inputs]
    graph.cleanup().toposort()


@click.command()
@click.argument("model")
def size_of(model):
    """Print how many nodes MODEL has."""
    click.echo(len(onnx.load(model).graph.node))


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
