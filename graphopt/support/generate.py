"""Random probes: valid one-operator models that combine several changes at once, to hold a table against.

A probe begins as a form that an exporter writes (`forms` knows those whose arguments hang together) or as one or two
cases of the operator's sweep put together, and is then dressed: its dtype, what is constant, which axes are symbolic,
what is quantized, at which version. What is no valid model, or has no answer, is drawn again. Operators that only
onnxruntime defines are taken from the sweep as they are, with other values. The same random numbers give the same
probe, so `random.Random(seed)` repeats a run and hypothesis can shrink one (`st.randoms`).
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from graphopt.support.case import MAIN_OPSET, Case, alike, allowed, checked, opset_of, versions
from graphopt.support.draw import Draw
from graphopt.support.forms import FORMS, RECURRENT
from graphopt.support.probe import Probe, build
from graphopt.support.sweep_words import DTYPES, STORED
from graphopt.support.sweeps import cases

TRIES: Final = 60
"""How many drawings may be no valid model before an operator counts as one that no random probe can be made of."""
_OPEN: Final = "random:"


def generate(name: str, count: int, seed: str) -> Iterator[Probe]:
    """Random probes of an operator, with the ids "OP-version/random:SEED-N".

    Args:
        name: an operator that a sweep knows, as in "Conv" or "com.microsoft::Gelu".
        count: how many; fewer come where no more can be made, and none asks what another one asked.
        seed: repeats them; other seeds give other probes.
    """
    rng = random.Random(f"{seed}/{name}")
    asked: set[bytes] = set()
    for number in range(count):
        probe = one(name, rng, f"{_OPEN}{seed}-{number}")
        if probe is not None and probe.model not in asked:
            asked.add(probe.model)
            yield probe


def one(name: str, rng: random.Random, label: str) -> Probe | None:
    """One random probe of an operator that a sweep knows; None where `TRIES` drawings made no valid one."""
    known = cases(name)
    for _ in range(TRIES if known else 0):
        if checked(known[0]):
            case = _dressed(_plain(name, known, rng), known, rng)
        else:
            case = rng.choice(known)
        # a quantized form that these shapes do not have, or a value that the new dtype does not have
        with contextlib.suppress(ValueError, OverflowError):
            probe = build(case.but(label), _version(name, rng))
            if probe is not None:
                return probe
    return None


def is_random(probe_id: str) -> bool:
    """Whether an id is that of a random probe."""
    return probe_id.partition("/")[2].startswith(_OPEN)


def _plain(name: str, known: list[Case], rng: random.Random) -> Case:
    form = FORMS.get(name)
    if form is not None and (name in RECURRENT or rng.random() < 0.75):
        return form(name, Draw(rng))
    core = [case for case in known if case.core] or known
    case = rng.choice(core if rng.random() < 0.3 else known)
    other = rng.choice(known)
    if rng.random() < 0.5 and _ranks(other) == _ranks(case):
        case = replace(case, attributes={**case.attributes, **other.attributes})
    return _resized(case, rng) if rng.random() < 0.7 else case


def _ranks(case: Case) -> list[int | None]:
    return [None if arg is None else len(arg.shape) for arg in case.args]


def _resized(case: Case, rng: random.Random) -> Case:
    """The case with each size replaced by another, wherever it stands; values, their sizes and attributes stay."""
    free = [arg for arg in case.args if arg is not None and arg.values is None]
    fixed = {size for arg in case.args if arg is not None and arg.values is not None for size in arg.shape}
    sizes = sorted({size for arg in free for size in arg.shape if size > 1} - fixed)
    to = {size: rng.randint(2, 9) for size in sizes if rng.random() < 0.7}
    args = tuple(
        replace(arg, shape=tuple(to.get(size, size) for size in arg.shape)) if arg in free and arg is not None else arg
        for arg in case.args
    )
    return replace(case, args=args)


def _dressed(case: Case, known: list[Case], rng: random.Random) -> Case:
    """The case with another dtype, constants, symbolic axes and quantization, each now and then."""
    if rng.random() < 0.15:
        case = _retyped(case, rng)
    if rng.random() < (0.15 if len(case.args) > 1 else 0.03):
        case = _flipped(case, rng)
    if all(arg is None or arg.constant for arg in case.args):
        return replace(case, quantized=None, dynamic="")
    forms = list(dict.fromkeys(other.quantized for other in known if other.quantized is not None))
    if forms and rng.random() < 0.15:
        return replace(case, quantized=rng.choice(forms))
    if rng.random() < 0.06:
        return replace(case, dynamic=rng.choice(("batch", "all")))
    return case


def _retyped(case: Case, rng: random.Random) -> Case:
    opset = opset_of(case.op_type, versions(case.op_type)[0]) or MAIN_OPSET
    first = next((i for i, arg in enumerate(case.args) if arg is not None and arg.dtype == "float32"), None)
    if first is None:
        return case
    dtypes = allowed(case.op_type, opset, DTYPES, first)
    if not dtypes:
        return case
    dtype = rng.choice([*dtypes, *(usual for usual in ("float16", "int32", "int64") if usual in dtypes)])
    same = alike(case.op_type, opset, len(case.args), first)
    args = tuple(
        replace(arg, dtype=dtype) if arg is not None and index in same else arg for index, arg in enumerate(case.args)
    )
    return replace(case, args=args)


def _flipped(case: Case, rng: random.Random) -> Case:
    index = rng.randrange(len(case.args))
    arg = case.args[index]
    if arg is None or case.paired or case.op_type in STORED:
        return case
    args = list(case.args)
    # an argument that older versions have as an attribute is none of theirs when it is computed
    args[index] = replace(arg, constant=not arg.constant, attribute="" if arg.constant else arg.attribute)
    return replace(case, args=tuple(args))


def _version(name: str, rng: random.Random) -> int:
    known = versions(name)
    return known[0] if rng.random() < 0.6 else rng.choice(known)
