"""Synthetic graphs of any size, for measuring how passes scale: long chains and wide graphs of what passes remove.

python benchmarks/graphs.py FOLDER [SIZES]      writes KIND_SIZE.onnx, and .json with what its input looks like
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH = 8


def _model(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], output: str, batch: int | str
) -> onnx.ModelProto:
    shape = [batch, WIDTH]
    graph = helper.make_graph(
        nodes,
        "synthetic",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def chain(nodes: int) -> onnx.ModelProto:
    """One long chain: two Transposes that cancel, a Cast and an Identity that do nothing, two nodes of constants, an
    addition, a Tanh, and an Unsqueeze that a Squeeze undoes. Of ten nodes, two do something.
    """
    rng = np.random.default_rng(0)
    constants = {"axis": np.array([0])}
    made: list[onnx.NodeProto] = []
    value = "x"
    for block in range(nodes // 10):

        def name(part: str, block: int = block) -> str:
            return f"b{block}.{part}"

        constants[name("c")], constants[name("d")] = (rng.standard_normal((2, 1, WIDTH)) / 4).astype(np.float32)
        steps = [
            ("Transpose", [value], "turned", {"perm": [1, 0]}),
            ("Transpose", [name("turned")], "back", {"perm": [1, 0]}),
            ("Cast", [name("back")], "cast", {"to": TensorProto.FLOAT}),
            ("Identity", [name("cast")], "same", {}),
            ("Add", [name("c"), name("d")], "sum", {}),
            ("Mul", [name("sum"), name("d")], "product", {}),
            ("Add", [name("same"), name("product")], "moved", {}),
            ("Tanh", [name("moved")], "bent", {}),
            ("Unsqueeze", [name("bent"), "axis"], "wide", {}),
            ("Squeeze", [name("wide"), "axis"], "narrow", {}),
        ]
        made += [
            helper.make_node(op, inputs, [name(out)], name=f"{name(out)}_{op}", **a) for op, inputs, out, a in steps
        ]
        value = name("narrow")
    return _model(made, constants, value, 4)


def dag(nodes: int) -> onnx.ModelProto:
    """As `wide`, and with a sum in every block that is computed twice: once of the lane, once of its reshaped self.

    Every fourth block uses both sums; in the others the second one is dead.
    """
    rng = np.random.default_rng(0)
    constants = {"axis": np.array([0]), "first": np.array(0), "width": np.array([WIDTH])}
    made: list[onnx.NodeProto] = []
    lanes = ["x"] * 8
    for block in range(nodes // 10):
        own, other, at = lanes[block % 8], lanes[(block + 3) % 8], f"b{block}"
        constants[f"{at}.c"] = (rng.standard_normal((1, WIDTH)) / 4).astype(np.float32)
        steps = [
            ("Shape", [own], "shape"),
            ("Gather", [f"{at}.shape", "first"], "batch"),
            ("Unsqueeze", [f"{at}.batch", "axis"], "vector"),
            ("Concat", [f"{at}.vector", "width"], "target"),
            ("Reshape", [own, f"{at}.target"], "reshaped"),
            ("Neg", [f"{at}.c"], "negative"),
            ("Add", [f"{at}.reshaped", other], "sum"),
            ("Add", [own, other], "again"),
            ("Mul", [f"{at}.again" if block % 4 == 0 else f"{at}.sum", f"{at}.negative"], "product"),
        ]
        if block % 4 == 0:
            steps.append(("Add", [f"{at}.product", f"{at}.sum"], "both"))
        steps.append(("Tanh", [f"{at}.{steps[-1][2]}"], "bent"))
        for op, inputs, out in steps:
            attributes = {"axis": 0} if op == "Concat" else {}
            made.append(helper.make_node(op, inputs, [f"{at}.{out}"], name=f"{at}.{out}_{op}", **attributes))
        lanes[block % 8] = f"{at}.bent"
    made.append(helper.make_node("Sum", lanes, ["y"], name="sum"))
    return _model(made, constants, "y", "N")


def wide(nodes: int) -> onnx.ModelProto:
    """Eight lanes with a dynamic batch that mix: each block computes a shape from a shape and reshapes to it, which
    changes nothing, negates a constant, and combines two lanes.
    """
    rng = np.random.default_rng(0)
    constants = {"axis": np.array([0]), "first": np.array(0), "width": np.array([WIDTH])}
    made: list[onnx.NodeProto] = []
    lanes = ["x"] * 8
    for block in range(nodes // 9):

        def name(part: str, block: int = block) -> str:
            return f"b{block}.{part}"

        own, other = lanes[block % 8], lanes[(block + 3) % 8]
        constants[name("c")] = (rng.standard_normal((1, WIDTH)) / 4).astype(np.float32)
        steps = [
            ("Shape", [own], "shape"),
            ("Gather", [name("shape"), "first"], "batch"),
            ("Unsqueeze", [name("batch"), "axis"], "vector"),
            ("Concat", [name("vector"), "width"], "target"),
            ("Reshape", [own, name("target")], "reshaped"),
            ("Neg", [name("c")], "negative"),
            ("Add", [name("reshaped"), other], "sum"),
            ("Mul", [name("sum"), name("negative")], "product"),
            ("Tanh", [name("product")], "bent"),
        ]
        for op, inputs, out in steps:
            attributes = {"axis": 0} if op == "Concat" else {}
            made.append(helper.make_node(op, inputs, [name(out)], name=f"{name(out)}_{op}", **attributes))
        lanes[block % 8] = name("bent")
    made.append(helper.make_node("Sum", lanes, ["y"], name="sum"))
    return _model(made, constants, "y", "N")


KINDS = {"chain": chain, "dag": dag, "wide": wide}


def main() -> None:
    """Write the graphs that are not there yet."""
    folder, sizes = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "1000,10000"
    folder.mkdir(parents=True, exist_ok=True)
    for kind, build in KINDS.items():
        for size in map(int, sizes.split(",")):
            path = folder / f"{kind}_{size}.onnx"
            if not path.exists():
                onnx.save(build(size), path)
                spec = {"gen": "normal", "shape": [4, WIDTH], "dtype": "float32"}
                path.with_suffix(".json").write_text(json.dumps({"inputs": {"x": spec}}), encoding="utf-8")


if __name__ == "__main__":
    main()
