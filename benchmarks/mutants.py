"""Mutation testing of the rules: is a guard that is flipped or dropped noticed?

    python benchmarks/mutants.py [--sample 200] [--seed 0] [--only PASS] [--write benchmarks/mutants.md]

A mutant is a rule with one change: a guard that is not asked, a comparison in it turned round, an operand of its `and`
or `or` left out, an early refusal skipped, or a condition of the pattern dropped. It is caught where the shared
property test (`graphopt.testing.check_rule`) fails on the rule's examples, or where it fires on a near miss
(`graphopt.fuzz.near`) and is wrong there. What survives is listed in two parts:

- about worth: the mutant fires on three near misses or more where the rule does not, and keeps the rule's fidelity in a
  valid graph on all of them, so what was changed is no matter of truth (a larger constant, a slower form);
- no difference seen: it fires where the rule fires. It is equal to the rule, or no near miss reaches what was changed.

Exit code 1 where fewer than nine in ten of those that are not about worth are caught.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import inspect
import json
import random
import subprocess
import sys
import textwrap
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from graphopt.fuzz.draw import all_rules
from graphopt.fuzz.near import check_near, near_misses
from graphopt.fuzz.work import quiet
from graphopt.ir import infer_shapes, load
from graphopt.rewrite import apply_rules
from graphopt.rewrite.pattern import Const, Either, Op, Optional, Output
from graphopt.testing import check_rule

EXAMPLES, NEAR, WANTED = 10, 160, 0.9
WORTH = 3
"""Near misses where only the mutant fires, and is right, from which on its change counts as one of worth."""
_TURNED = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip


def changes(rule: Any) -> Iterator[tuple[str, Callable[[contextlib.ExitStack], None]]]:
    """Every change of a rule: in words, and what makes it for as long as a stack is open."""
    for index, (reason, guard) in enumerate(rule.guards):
        yield f"not asked: {reason}", _with_guard(rule, index, lambda m: True)
        for words, changed in _guards(guard):
            yield f"{reason}: {words}", _with_guard(rule, index, changed)
    for part in dict.fromkeys(_parts(rule.roots)):
        if getattr(part, "where", None) is not None:
            yield f"pattern: {_called(part)} without its condition", _without(part, "where")
        if isinstance(part, Const) and part.equals is not None:
            yield f"pattern: {_called(part)} need not be {part.equals}", _without(part, "equals")
        if isinstance(part, Op):
            for name, expected in part.attributes.items():
                if expected.where is not None:
                    yield f"pattern: {_called(part)} with any {name}", _without(expected, "where")


def _called(part: Any) -> str:
    return part.name or "/".join(getattr(part, "types", ())) or type(part).__name__


def _parts(patterns: Any) -> Iterator[Any]:
    for part in patterns:
        yield part
        if isinstance(part, Op):
            yield from _parts(part.inputs)
        elif isinstance(part, Output):
            yield from _parts([part.op])
        elif isinstance(part, Optional):
            yield from _parts([part.inner])
        elif isinstance(part, Either):
            yield from _parts(part.options)


def _with_guard(rule: Any, index: int, guard: Callable[..., Any]) -> Callable[[contextlib.ExitStack], None]:
    def change(stack: contextlib.ExitStack) -> None:
        old = rule.guards[index]
        rule.guards[index] = (old[0], guard)
        stack.callback(rule.guards.__setitem__, index, old)

    return change


def _without(part: Any, name: str) -> Callable[[contextlib.ExitStack], None]:
    def change(stack: contextlib.ExitStack) -> None:
        old = getattr(part, name)
        object.__setattr__(part, name, None)  # patterns are frozen
        stack.callback(object.__setattr__, part, name, old)

    return change


def _guards(guard: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Changed copies of a guard, where its source is a function of its own."""
    if not isinstance(guard, types.FunctionType) or guard.__name__ == "<lambda>":
        return
    with contextlib.suppress(OSError, SyntaxError):
        tree = ast.parse(textwrap.dedent(inspect.getsource(guard)))
        for place, node in enumerate(ast.walk(tree)):
            for words, edit in _edits(node):
                changed = copy.deepcopy(tree)
                edit(list(ast.walk(changed))[place])
                made = _compiled(changed, guard)
                if made is not None:
                    yield words, made


def _edits(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """Ways to change one node of a guard's source."""
    if isinstance(node, ast.BoolOp):
        for index, operand in enumerate(node.values):
            yield f"without `{ast.unparse(operand)}`", lambda found, index=index: _left_out(found, index)
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in _TURNED:

        def turn(found: Any) -> None:
            found.ops[0] = _TURNED[type(found.ops[0])]()

        yield f"`{ast.unparse(node)}` turned", turn
    elif isinstance(node, ast.If) and isinstance(node.body[0], ast.Return):

        def skip(found: Any) -> None:
            found.test = ast.Constant(False)

        yield f"without `if {ast.unparse(node.test)}`", skip


def _left_out(found: ast.BoolOp, index: int) -> None:
    del found.values[index]
    found.values *= 2 if len(found.values) == 1 else 1  # Python's grammar knows no `and` of one


def _compiled(tree: Any, guard: types.FunctionType) -> Callable[..., Any] | None:
    """The function of a changed source, with the globals and the closure of the original."""
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    function.decorator_list = []
    free = guard.__code__.co_freevars
    outer = ast.parse(f"def outer({', '.join(free)}):\n    return None").body[0]
    assert isinstance(outer, ast.FunctionDef)
    outer.body.insert(0, function)
    module = ast.fix_missing_locations(ast.Module([outer], []))
    code = next(c for c in compile(module, "<mutant>", "exec").co_consts if isinstance(c, types.CodeType))
    inner = next(c for c in code.co_consts if isinstance(c, types.CodeType))
    cells = dict(zip(free, guard.__closure__ or (), strict=True))
    if not set(inner.co_freevars) <= cells.keys():
        return None
    closure = tuple(cells[name] for name in inner.co_freevars)
    return types.FunctionType(inner, guard.__globals__, guard.__name__, guard.__defaults__, closure)


def judged(number: int, chosen: list[int]) -> list[tuple[str, str]]:
    """Mutants of a rule in words, each with what caught it; "worth" or "" where nothing did."""
    registered = all_rules()[number]
    pool = list(near_misses(registered, NEAR))
    sound = [near for near in pool if check_near(registered, near) is None]
    fires = [_fires(registered, near) for near in sound]
    answers = []
    for place, (words, change) in enumerate(changes(registered.rule)):
        if place in chosen:
            with contextlib.ExitStack() as stack:
                change(stack)
                by = _caught(registered, sound)
                more = 0 if by else sum(_fires(registered, n) > before for n, before in zip(sound, fires, strict=True))
                answers.append((f"{registered}: {words}", by or ("worth" if more >= WORTH else "")))
    return answers


def _fires(registered: Any, near: Any) -> int:
    model = load(near.proto)
    infer_shapes(model)
    return len(apply_rules(model, [registered.rule]).rewrites)


def _in_a_process(job: tuple[int, list[int]]) -> list[tuple[str, str]]:
    """The same in a process of its own: a kernel may crash on what no guard keeps from it, which is noticed, too."""
    number, chosen = job
    found = _asked(number, chosen)
    if found is None and len(chosen) > 1:
        return [answer for place in chosen for answer in _in_a_process((number, [place]))]
    if found is None:
        words = [words for words, _ in changes(all_rules()[number].rule)][chosen[0]]
        # where the near misses crash without any change, nothing is known
        return [(f"{all_rules()[number]}: {words}", "crash" if _asked(number, []) is not None else "")]
    return found


def _asked(number: int, chosen: list[int]) -> list[tuple[str, str]] | None:
    command = [sys.executable, __file__, "--rule", str(number), "--places", json.dumps(chosen)]
    child = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return None if child.returncode else [tuple(one) for one in json.loads(child.stdout)]


def _caught(registered: Any, pool: list[Any]) -> str:
    for seed in range(EXAMPLES):
        try:
            check_rule(registered.rule, random.Random(seed), (13, 17, 21)[seed % 3])
        except Exception as error:  # noqa: BLE001 (a mutant may raise anything, and that is being caught)
            return f"examples: {type(error).__name__}"
    return next((f"near miss: {failure.kind}" for near in pool if (failure := check_near(registered, near))), "")


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=0, help="so many mutants, at random; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="rules of one pass")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rule", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--places", help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help="a file for the result")
    told = parser.parse_args()
    if told.rule is not None:
        quiet()
        with contextlib.redirect_stdout(sys.stderr):
            answers = judged(told.rule, json.loads(told.places))
        print(json.dumps(answers))
        return 0
    start = time.monotonic()
    every = [
        (number, place)
        for number, one in enumerate(all_rules())
        if told.only in ("", one.one.name)
        for place, _ in enumerate(changes(one.rule))
    ]
    chosen = random.Random(told.seed).sample(every, min(told.sample, len(every))) if told.sample else every
    jobs: dict[int, list[int]] = {}
    for number, place in sorted(chosen):
        jobs.setdefault(number, []).append(place)
    answers: list[tuple[str, str]] = []
    with ThreadPoolExecutor(told.processes) as pool:
        for done, found in enumerate(pool.map(_in_a_process, jobs.items()), start=1):
            answers += found
            caught = sum(by not in ("", "worth") for _, by in answers)
            if told.write:
                told.write.write_text(_result(answers, len(every), time.monotonic() - start) + "\n", encoding="utf-8")
            sys.stderr.write(f"\r{done} of {len(jobs)} rules, {caught} of {len(answers)} mutants caught ")
    sys.stderr.write("\n")
    print(_result(answers, len(every), time.monotonic() - start))
    true = [by for _, by in answers if by != "worth"]
    return int(sum(map(bool, true)) < WANTED * len(true))


def _result(answers: list[tuple[str, str]], every: int, seconds: float) -> str:
    caught = [by for _, by in answers if by not in ("", "worth")]
    worth = [words for words, by in answers if by == "worth"]
    near, true = sum(by.startswith("near") for by in caught), len(answers) - len(worth)
    lines = [
        "# Mutants of the rules",
        "",
        f"{len(answers)} of {every} mutants, drawn at random; {len(worth)} are about worth. Of the {true} others "
        f"{len(caught)} are caught ({len(caught) / max(true, 1):.1%}): {len(caught) - near} by the examples, {near} by "
        f"near misses; {seconds:.0f} s. What the parts mean stands in `benchmarks/mutants.py`.",
        "",
        "## Survivors where no difference was seen",
        "",
        *(f"- {words}" for words, by in answers if not by),
        "",
        "## Survivors about worth",
        "",
        *(f"- {words}" for words in worth),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
