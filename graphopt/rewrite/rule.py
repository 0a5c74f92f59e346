"""A rule: a pattern, guards, a replacement, and the fidelity that it declares.

@rule("fuse-conv-bn", fidelity="rounding")
def fold(p):
    conv = p.Conv(p.x, p.constant("w"), p.optional(p.constant("b")), as_="conv")
    return p.BatchNormalization(conv, p.constant("scale"), …, epsilon=p.attribute("eps"))

@fold.require("all statistics have one element a channel")
def _(m): return m.scale.shape == m.w.shape[:1]

@fold.replace
def _(op, m): return op.Conv(m.x, m.w * …, like=m.conv)

@fold.example
def _(g): …        # builds one random graph that the rule matches; the shared property test runs it
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import Names, attribute, opset
from graphopt.ir.validate import describe
from graphopt.rewrite.glance import Glance, glance, meets, needs_of
from graphopt.rewrite.match import Guard, Match, Matcher
from graphopt.rewrite.pattern import Op, Output, PatternBuilder, depth

Fidelity = Literal["exact", "rounding", "lossy"]
"""exact: the same bits. rounding: the same real number, computed in another order. lossy: a compression."""
FIDELITIES: tuple[Fidelity, ...] = ("exact", "rounding", "lossy")


class Declined(Exception):
    """Raised by a replacement that finds that it does not apply after all; says why."""


class Rule:
    """One rewrite. Made by the decorator `rule`; see the module's docstring."""

    def __init__(self, name: str, fidelity: Fidelity, pattern: Callable[[PatternBuilder], Any]) -> None:
        if fidelity not in FIDELITIES:
            raise ValueError(f"rule {name}: fidelity is one of {', '.join(FIDELITIES)}, not {fidelity!r}")
        self.name, self.fidelity = name, fidelity
        self.doc = (pattern.__doc__ or "").strip()
        built = pattern(PatternBuilder())
        roots = tuple(_root(one) for one in (built if isinstance(built, tuple) else (built,)))
        self.roots: tuple[Op, ...] = tuple(dict.fromkeys(op for op, _ in roots))
        self.outputs: tuple[tuple[Op, int], ...] = roots
        """What the replacement's values replace: (root, output number)."""
        self._needs = needs_of(self.roots[0])
        self.guards: list[Guard] = []
        self.replacement: Callable[[Builder, Match], Any] | None = None
        self.examples: list[Callable[[Any], Any]] = []

    def __repr__(self) -> str:
        return f"Rule({self.name!r}, {self.fidelity!r})"

    @property
    def depth(self) -> int:
        """Operators on the longest way through the pattern."""
        return max(depth(root) for root in self.roots)

    def require(self, reason: str) -> Callable[[Callable[[Match], bool | str]], Callable[[Match], bool | str]]:
        """Add a guard: a function of the match that returns whether the rule holds, or a sentence why it does not."""

        def add(guard: Callable[[Match], bool | str]) -> Callable[[Match], bool | str]:
            self.guards.append((reason, guard))
            return guard

        return add

    def replace(self, function: Callable[[Builder, Match], Any]) -> Callable[[Builder, Match], Any]:
        """Set the replacement: a function of the builder and the match that returns a value for each root output."""
        self.replacement = function
        return function

    def example(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Add a generator of graphs that the rule matches, for the shared property test (`graphopt.testing.Sketch`)."""
        self.examples.append(function)
        return function

    def match(self, node: ir.Node, seen: Glance | None = None) -> Match | None:
        """Match with the first root at `node`; `seen` is a glance at it, where one was taken already."""
        if not meets(glance(node) if seen is None else seen, self._needs):
            return None
        return Matcher(self.roots, self.outputs, self.guards).match(node)

    def why_not(self, node: ir.Node) -> tuple[ir.Node, str] | None:
        """The first condition that failed with the first root at `node`, and the node where it did."""
        matcher = Matcher(self.roots, self.outputs, self.guards, explain=True)
        matcher.match(node)
        return matcher.failure


def _root(pattern: object) -> tuple[Op, int]:
    if isinstance(pattern, Op):
        return pattern, 0
    if isinstance(pattern, Output):
        return pattern.op, pattern.index
    raise TypeError("a pattern function returns an operator, an output of one, or a tuple of them")


def rule(name: str, *, fidelity: Fidelity) -> Callable[[Callable[[PatternBuilder], Any]], Rule]:
    """Make a rule out of a pattern function.

    Args:
        name: what reports and `--explain` call it; lower-case words with hyphens, unique within its pass.
        fidelity: what it keeps.
    """
    return lambda pattern: Rule(name, fidelity, pattern)


class Builder:
    """The `op` of a replacement: makes nodes, `op.Conv(x, w, strides=[2, 2])`; arrays become constants.

    Nothing enters the graph until the replacement has returned, so a replacement may raise `Declined` at any point.
    """

    def __init__(self, match: Match, names: Names, made_by: str) -> None:
        self._match, self._names, self._made_by = match, names, made_by
        self.nodes: list[ir.Node] = []
        self.constants: list[ir.Value] = []
        self.like: dict[ir.Node, ir.Node] = {}

    @property
    def opset(self) -> int:
        """Version of the default operator set at the place of the match."""
        return opset(self._match.root) if not self._match.root.domain else _default_opset(self._match.root)

    def decline(self, reason: str) -> Declined:
        """The exception to raise where the rule does not apply after all."""
        return Declined(reason)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name[0].isupper():
            raise AttributeError(f"operators begin with a capital letter, {name!r} does not")
        return lambda *inputs, **options: self.op(name, *inputs, **options)

    def op(
        self,
        op_type: str,
        *inputs: ir.Value | np.ndarray | float | int | None,
        domain: str = "",
        outputs: int = 1,
        like: ir.Node | None = None,
        **attributes: Any,
    ) -> Any:
        """Make a node.

        Args:
            op_type: its operator.
            inputs: values; arrays and numbers become constants (a float becomes float32, an int int64); None is an
                input left out.
            domain: its operator set.
            outputs: how many outputs it has.
            like: take attributes (where not given), documentation and, if that node goes, the name from this node.
            attributes: by name; None leaves one out.

        Returns:
            Its output value, or a tuple of them where there are several.
        """
        values = [self._input(one) for one in inputs]
        while values and values[-1] is None:
            values.pop()
        held: dict[str, ir.Attr] = dict(like.attributes) if like is not None else {}
        for name, value in attributes.items():
            held.pop(name, None)
            if value is not None:
                held[name] = attribute(name, value)
        node = ir.Node(
            domain, op_type, values, list(held.values()), num_outputs=outputs,
            doc_string=like.doc_string if like is not None else None,
        )  # fmt: skip
        self.nodes.append(node)
        if like is not None:
            self.like[node] = like
        return node.outputs[0] if outputs == 1 else node.outputs

    def constant(self, array: np.ndarray | ir.TensorProtocol, name: str | None = None) -> ir.Value:
        """A constant; arrays given as inputs do the same with a name of their own."""
        stem = name or f"{_stem(self._match.root)}_const"
        value = ir.Value(name=self._names.fresh(stem))
        if isinstance(array, np.ndarray):
            array = np.array(array, order="C")
            array.flags.writeable = False
        tensor = ir.Tensor(array, name=value.name) if isinstance(array, np.ndarray) else array
        if tensor.dtype is None:
            raise Declined("the type of a constant that it would make is not known")
        value.const_value, value.type = tensor, ir.TensorType(tensor.dtype)
        value.shape = ir.Shape(tensor.shape.numpy())
        self.constants.append(value)
        return value

    def _input(self, given: ir.Value | np.ndarray | float | int | None) -> ir.Value | None:
        if given is None or isinstance(given, ir.Value):
            return given
        if isinstance(given, np.generic):  # np.float64 is a float as well, and keeps its type
            given = np.asarray(given)
        elif isinstance(given, float):
            given = np.array(given, np.float32)
        elif isinstance(given, int):
            given = np.array(given, np.int64)
        return self.constant(np.asarray(given))

    def discard(self) -> None:
        """Forget everything that was made; nothing of it is in the graph."""
        for node in self.nodes:
            for index in range(len(node.inputs)):
                node.replace_input_with(index, None)
        self.nodes.clear()
        self.constants.clear()


def _default_opset(node: ir.Node) -> int:
    return node.graph.opset_imports.get("", 1) if node.graph is not None else 1


def _stem(node: ir.Node) -> str:
    return describe(node).removeprefix("-> ")
