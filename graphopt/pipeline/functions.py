"""Passes that are functions.

    @function_pass("drop-dropout", fidelity="exact")
    def drop_dropout(model: ir.Model, *, keep: int = 0) -> int:
        '''Take away Dropout.'''
        ...
        return removed

    @graphsurgeon_pass("my-cleanup", fidelity="exact")
    def my_cleanup(graph: gs.Graph) -> None:
        '''Clean up.'''
        graph.cleanup().toposort()

What the decorator leaves is a class, a `Pass` like any other, for the entry-point group `graphopt.passes`. Parameters
after the first that have a default are options; one named `context` receives the `Context`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, get_type_hints

import onnx_ir as ir

from graphopt.pipeline.passes import Context, Pass, PassResult
from graphopt.rewrite import Fidelity

Function = Callable[..., Any]


def function_pass(
    name: str, *, fidelity: Fidelity, changes_signature: bool = False
) -> Callable[[Function], type[Pass]]:
    """Make a pass of a function on `onnx_ir.Model`.

    The function changes the model in place, or returns another one. It may return how many changes it made, whether
    it made any, or a `PassResult`; where it returns nothing, the manager looks for itself.

    Args:
        name: of the pass, as its entry point has it.
        fidelity: what it keeps: "exact", "rounding" or "lossy".
        changes_signature: see `Pass.changes_signature`.
    """

    def decorate(function: Function) -> type[Pass]:
        return _made(function, function, name, fidelity, changes_signature)

    return decorate


def graphsurgeon_pass(
    name: str, *, fidelity: Fidelity, changes_signature: bool = False
) -> Callable[[Function], type[Pass]]:
    """Make a pass of a function on `onnx_graphsurgeon.Graph`, the main graph of the model.

    The function changes the graph in place, or returns another one; what the view has no place for, as metadata, is
    kept. Arguments as for `function_pass`.
    """

    def decorate(function: Function) -> type[Pass]:
        @functools.wraps(function)
        def on_view(model: ir.Model, **options: Any) -> ir.Model:
            from graphopt.ir.views import as_graphsurgeon, from_graphsurgeon

            graph = as_graphsurgeon(model)
            made = function(graph, **options)
            return from_graphsurgeon(graph if made is None else made, model)

        return _made(function, on_view, name, fidelity, changes_signature)

    return decorate


def _made(function: Function, call: Function, its_name: str, its_fidelity: Fidelity, its_signature: bool) -> type[Pass]:
    options, takes_context = _options_of(function)

    class FunctionPass(Pass):
        """Runs the function."""

        name = its_name
        fidelity = its_fidelity
        changes_signature = its_signature
        Options: ClassVar[type] = options

        def run(self, model: ir.Model, context: Context) -> PassResult:
            """See `Pass.run`."""
            given = {one.name: getattr(self.options, one.name) for one in dataclasses.fields(self.options)}
            return as_result(call(model, **given, **({"context": context} if takes_context else {})))

    FunctionPass.__doc__ = function.__doc__ or function.__name__.replace("_", " ")
    FunctionPass.__name__, FunctionPass.__qualname__ = function.__name__, function.__qualname__
    FunctionPass.__module__ = function.__module__
    return FunctionPass


def as_result(answer: Any) -> PassResult:
    """What a function returned, as the result of a pass.

    Raises:
        TypeError: it is nothing that a pass may return.
    """
    if isinstance(answer, PassResult):
        return answer
    if answer is None:
        return PassResult(0)  # the manager compares the graphs
    if isinstance(answer, bool | int):
        return PassResult(int(answer))
    if isinstance(answer, ir.Model):
        return PassResult(0, model=answer)
    raise TypeError(f"a pass returns a model, a number of changes or a PassResult, not {type(answer).__name__}")


def _options_of(function: Function) -> tuple[type, bool]:
    """The options dataclass that the parameters of a function amount to, and whether it takes the context.

    Raises:
        TypeError: a parameter after the first has no default.
    """
    parameters = list(inspect.signature(function).parameters.values())[1:]
    hints = get_type_hints(function)
    fields: list[tuple[str, Any, Any]] = []
    for one in parameters:
        if one.name == "context":
            continue
        if one.default is inspect.Parameter.empty:
            raise TypeError(f"{function.__name__}: the option {one.name!r} needs a default")
        fields.append((one.name, hints.get(one.name, type(one.default)), dataclasses.field(default=one.default)))
    made = dataclasses.make_dataclass("Options", fields, frozen=True)
    return made, any(one.name == "context" for one in parameters)
