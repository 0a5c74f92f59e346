"""The ways to write a pass, and passes of other libraries that run as they are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

Shell = Callable[..., subprocess.CompletedProcess[str]]


def applied(shell: Shell, *passes: str) -> list[dict]:
    """The records of a run with these passes alone."""
    wanted = [part for one in passes for part in ("-p", one)]
    done = shell("run", "small.onnx", *wanted, "--only", "--json", "-o", "x.onnx")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["passes"]


@pytest.mark.parametrize("name", ["cancel-negations", "just-a-rule", "surgery"])
def test_a_rule_class_a_bare_rule_and_a_graphsurgeon_function_do_the_same(shell: Shell, model: Path, name: str) -> None:
    (record,) = applied(shell, name)
    assert (record["outcome"], record["source"]) == ("applied", "stranger 1.0")
    made = onnx.load(model.with_name("x.onnx"))
    assert sorted(node.op_type for node in made.graph.node) == ["Mul", "Neg", "Relu"]
    assert [value.name for value in made.graph.output] == ["y", "z"]


def test_parameters_of_a_function_are_options_and_lists_are_in_brackets(shell: Shell, model: Path) -> None:
    applied(shell, "rename-nodes:words=[up,down],start=3")
    names = [node.name for node in onnx.load(model.with_name("x.onnx")).graph.node]
    assert names == ["up3", "down4", "up5", "down6", "up7"]
    shown = json.loads(shell("passes", "show", "rename-nodes", "--json").stdout)
    assert {option["name"]: option["default"] for option in shown["options"]} == {"words": ["node"], "start": 0}
    wrong = shell("run", "small.onnx", "-p", "rename-nodes:start=soon")
    assert (wrong.returncode, "rename-nodes, option start" in wrong.stderr) == (2, True)


HOME = """
import onnx, onnx_ir as ir, sys
model = ir.from_proto(onnx.load("borrow.onnx"))
{work}
onnx.save(ir.to_proto(model), "home.onnx")
"""


@pytest.mark.parametrize(
    ("name", "work"),
    [
        ("skip-identities", "from onnx_ir.passes.common import IdentityEliminationPass as P; P()(model)"),
        ("remove-unused", "from onnx_ir.passes.common import RemoveUnusedNodesPass as P; P()(model)"),
        ("collapse-relus", "from onnxscript.rewriter.rules.common import successive_relu_rule as r;"
         " r.apply_to_model(model)"),
        ("simplest-forms", "from borrowed import simplest_forms; simplest_forms.apply_to_model(model)"),
    ],
)  # fmt: skip
def test_what_is_borrowed_does_in_a_recipe_what_it_does_at_home(
    shell: Shell, strangers: dict[str, str], tmp_path: Path, name: str, work: str
) -> None:
    proto = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        borrow (float[2,3] x) => (float[2,3] y) {
            two = Constant<value = float {2.0}>()
            unread = Neg(x)
            a = Relu(x)
            b = Relu(a)
            c = Transpose<perm = [1, 0]>(b)
            d = Transpose<perm = [1, 0]>(c)
            e = Identity(d)
            y = Mul(e, two)
        }""")
    onnx.save(proto, tmp_path / "borrow.onnx")
    subprocess.run([sys.executable, "-c", HOME.format(work=work)], cwd=tmp_path, env=strangers, check=True)
    done = shell("run", "borrow.onnx", "-p", name, "--only", "--json", "-o", "x.onnx")
    (record,) = json.loads(done.stdout)["passes"]
    assert (record["outcome"], record["fidelity"]) == ("applied", "rounding")
    here, home = onnx.load(tmp_path / "x.onnx"), onnx.load(tmp_path / "home.onnx")
    assert shape_of(here) == shape_of(home) != shape_of(proto)


def shape_of(model: onnx.ModelProto) -> list[object]:
    """Nodes with their values and attributes, and constants with theirs."""
    nodes = [
        (node.op_type, tuple(node.input), tuple(node.output), tuple(str(a) for a in node.attribute))
        for node in model.graph.node
    ]
    weights = {one.name: np.asarray(onnx.numpy_helper.to_array(one)).tolist() for one in model.graph.initializer}
    return [nodes, weights]
