"""Passes and a backend that do wrong whatever a stranger may do wrong."""

import os
import sys
import time
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphopt.pipeline import Pass, PassResult
from graphopt.support.backend import Backend


class _Wrong(Pass):
    fidelity = "exact"

    def run(self, model, context):
        self.spoil(model)
        return PassResult(1)


class Misnamed(_Wrong):
    """Goes by another name than its entry point."""

    name = "good-name"


def not_a_pass():
    """Is a function."""


class Promise(_Wrong):
    """Promises what nobody knows."""

    name = "bad-promise"
    fidelity = "roughly"


class Making(_Wrong):
    """Cannot be made."""

    name = "bad-making"

    def __init__(self, **options):
        raise OSError("no licence file")


class Raises(_Wrong):
    """Changes the model, then raises."""

    name = "raises"

    @dataclass(frozen=True)
    class Options:
        times: int = 1

    def spoil(self, model):
        model.graph[0].inputs[0].name = "spoiled"
        raise KeyError("missing\nsecond line")


class Quits(_Wrong):
    """Ends the process."""

    name = "quits"

    def spoil(self, model):
        sys.exit("bye")


class Dangling(_Wrong):
    """Reads a value that nothing makes."""

    name = "dangling"

    def spoil(self, model):
        model.graph[0].replace_input_with(0, ir.Value(name="nowhere"))


class Numbers(_Wrong):
    """Computes something else."""

    name = "numbers"

    def spoil(self, model):
        for value in model.graph.initializers.values():
            array = value.const_value.numpy()
            if array.dtype == np.float32 and array.size:
                value.const_value = ir.tensor(array * np.float32(1.5), name=value.name)


class Scribbles(_Wrong):
    """Writes into a weight in place."""

    name = "scribbles"

    def spoil(self, model):
        model.graph.initializers["w"].const_value.numpy()[:] = 0


class DropsOutput(_Wrong):
    """Deletes an output."""

    name = "drops-output"

    def spoil(self, model):
        model.graph.outputs.pop()


class Prints(Pass):
    """Talks on standard output, from Python and from below."""

    name = "prints"
    fidelity = "exact"

    def run(self, model, context):
        print("chatter from python")  # noqa: T201
        os.write(1, b"chatter from below\n")
        return PassResult(0)


class Loops(_Wrong):
    """Never comes to an end."""

    name = "loops"

    def spoil(self, model):
        while True:
            model.graph[0].name = "round and round"


class Waits(_Wrong):
    """Waits in C for what never happens, where no exception reaches it, and spoils the model then."""

    name = "waits"

    def spoil(self, model):
        time.sleep(3600)


class Stubborn(_Wrong):
    """Never comes to an end, and heeds nothing that it is told."""

    name = "stubborn"

    def spoil(self, model):
        while True:
            try:
                time.sleep(3600)
            except BaseException:  # noqa: BLE001
                continue


class BadOptions(_Wrong):
    """Has options of a kind that nobody knows."""

    name = "bad-options"

    class Options:
        times = 1


class BadType(_Wrong):
    """Has an option whose default is of another type than it says."""

    name = "bad-type"

    @dataclass(frozen=True)
    class Options:
        times: int = "often"

    def spoil(self, model):
        for _ in range(self.options.times):
            model.graph[0].name = "again"


class Sleeps(Pass):
    """Takes its time."""

    name = "sleeps"
    fidelity = "exact"

    def run(self, model, context):
        os.write(2, b"asleep\n")
        time.sleep(60)
        return PassResult(0)


class Wreck(Backend):
    """Raises whatever it is asked."""

    name, title, suffix, extra = "wreck", "Wreck", ".bin", "wreck"

    def table(self):
        raise ZeroDivisionError("no table")

    def recipe(self):
        return ""

    def toolchain(self):
        return "wreck 1"

    def compile(self, model, artifact, *, targets=(), timeout=600.0):
        raise ZeroDivisionError("no compiler")

    def execute(self, compiled, model, samples, *, timeout=600.0):
        raise ZeroDivisionError("no runtime")
