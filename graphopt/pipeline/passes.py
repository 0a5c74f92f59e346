"""What a pass is, and the pass that is a set of rules."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import onnx_ir as ir

from graphopt.errors import PassError
from graphopt.ir.infer import ensure_shapes
from graphopt.options import NoOptions, changed, validated, written
from graphopt.rewrite import Fidelity, NearMiss, Rewrite, Rule, apply_rules
from graphopt.rewrite.rule import FIDELITIES

if TYPE_CHECKING:
    import numpy as np

    from graphopt.support.backend import Backend


@dataclass(frozen=True)
class PassResult:
    """What a pass did.

    Attributes:
        rewrites: how many changes it made; 0 says that the model is as it was.
        detail: one line for people, as "conv-bn 12, conv-scale 3".
        model: the new model, None where the pass changed the given one in place.
        log: its rewrites one by one, where it has them.
        misses: near misses of the rules that the run was asked to explain.
        advice: for nodes, by name, that the backend still does not take: what was tried, and what would help.
        metrics: what it measured, by name, as {"macs_before": 3e8, "macs_after": 3e8}; numbers, and rows of them.
    """

    rewrites: int
    detail: str = ""
    model: ir.Model | None = None
    log: tuple[Rewrite, ...] = ()
    misses: tuple[NearMiss, ...] = ()
    advice: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Context:
    """What a pass may know of the run around it.

    Attributes:
        backend: where the model goes, None for a backend-neutral run.
        dims: values for dynamic dimensions by name, and whole shapes by input name, as `--dim` gave them.
        calibration: a call that yields the user's samples one by one, by input name; None where there are none.
        explain: names of rules whose near misses are to be recorded.
        shared: statistics that passes collect once and share, by a key of their own.
    """

    backend: Backend | None = None
    dims: Mapping[str, int | tuple[int, ...]] = field(default_factory=dict)
    calibration: Callable[[], Iterator[Mapping[str, np.ndarray]]] | None = None
    explain: frozenset[str] = frozenset()
    shared: dict[str, Any] = field(default_factory=dict)


class Pass(abc.ABC):
    """A step of a pipeline. Register a subclass under the entry-point group `graphopt.passes`.

    The first line of the docstring is what `graphopt passes` shows. Options are the fields of a frozen dataclass
    named `Options`; on the command line they are `-p name:field=value`, in a recipe keys beside `name`.
    """

    name: ClassVar[str]
    fidelity: ClassVar[Fidelity]
    changes_signature: ClassVar[bool] = False
    """Whether the pass may change names, order, types or shapes of inputs and outputs; by default that is undone."""
    idempotent: ClassVar[bool] = False
    """Whether running it twice in a row is running it once: the manager skips it where nothing changed since."""
    Options: ClassVar[type] = NoOptions

    def __init__(self, **options: Any) -> None:
        self.options: Any = validated(f"pass {self.name}", self.Options, options)

    @abc.abstractmethod
    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Change the model in place, or return another one in the result.

        What it raises is caught by the manager: the pass is rolled back and named. It must be deterministic and keep
        nothing between calls, since a rollback runs the passes before it again.
        """

    @property
    def input_values(self) -> Mapping[str, Any]:
        """Inputs that it takes away, with the value that it gives them: the original is compared at these values."""
        return {}

    @property
    def spec(self) -> str:
        """The pass as `-p` takes it, with the options that are not at their defaults."""
        told = [f"{k}={written(v)}" for k, v in self.changed_options().items()]
        return self.name + (":" + ",".join(told) if told else "")

    def changed_options(self) -> dict[str, Any]:
        """Options that are not at their defaults."""
        return changed(self.options)

    @classmethod
    def summary(cls) -> str:
        """The first line of the docstring."""
        return (cls.__doc__ or "").strip().splitlines()[0] if cls.__doc__ else ""


class Unloadable(Pass):
    """Stands for a pass whose plugin cannot be loaded, so that the run goes on and its report says why.

    Args:
        name: of the pass.
        reason: why it cannot be loaded.
    """

    fidelity = "exact"

    def __init__(self, name: str, reason: str) -> None:
        self.name = name  # type: ignore[misc]  # one class stands for passes of any name
        super().__init__()
        self._reason = reason

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Say why it cannot run."""
        raise PassError(self._reason)


class RewritePass(Pass):
    """A pass that applies rules until none fires. A subclass names its `rules`; its fidelity is the worst of theirs."""

    rules: ClassVar[Sequence[Rule]] = ()

    def __init_subclass__(cls, **extra: Any) -> None:
        super().__init_subclass__(**extra)
        if cls.rules and "fidelity" not in cls.__dict__:
            cls.fidelity = worst(rule.fidelity for rule in cls.rules)

    @functools.cached_property
    def roots(self) -> frozenset[tuple[str, str]]:
        """Domain and type of the operators that a rule begins at: a model without any of them stays as it is."""
        return frozenset((rule.roots[0].domain, one) for rule in self.rules for one in rule.roots[0].types)

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Apply the rules; see `Pass.run`.

        Most guards ask for shapes, so they are inferred where no pass before has done so.
        """
        ensure_shapes(model)
        outcome = apply_rules(model, self.rules, made_by=self.name, explain=context.explain)
        detail = ", ".join(f"{name} {count}" for name, count in sorted(outcome.counts.items()))
        return PassResult(len(outcome.rewrites), detail, log=tuple(outcome.rewrites), misses=tuple(outcome.misses))


def worst(fidelities: Iterator[Fidelity] | Sequence[Fidelity]) -> Fidelity:
    """The weakest promise of several; "exact" of none."""
    return max(fidelities, key=FIDELITIES.index, default="exact")
