"""How long `check` takes on a chain of nodes: python benchmarks/check_speed.py [TABLE.json] [NODES]."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import onnx_ir as ir

from graphopt.ir.infer import infer_shapes
from graphopt.support.check import check
from graphopt.support.table import Row, Table, load

_OPS = ("Relu", "Sigmoid", "Conv", "Add", "Softmax")


def chain(nodes: int) -> ir.Model:
    """A chain of element-wise operators, convolutions and softmaxes over float32[1,8,16,16]."""

    def value(name: str, *shape: int) -> ir.Value:
        return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))

    last = first = value("x", 1, 8, 16, 16)
    weights = value("w", 8, 8, 1, 1)
    made = []
    for index in range(nodes):
        op = _OPS[index % len(_OPS)]
        inputs = {"Conv": [last, weights], "Add": [last, first]}.get(op, [last])
        last = value(f"v{index}", 1, 8, 16, 16)
        made.append(ir.Node("", op, inputs, name=f"n{index}", outputs=[last]))
    return ir.Model(ir.Graph([first, weights], [last], nodes=made, opset_imports={"": 17}), ir_version=8)


def main() -> None:
    """Print the seconds for loading the table, and for checking, cold and warm."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    model = chain(int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
    started = time.perf_counter()
    table = (
        load(file)
        if file
        else Table(
            backend="toy", toolchain="toy 1.0", date="2026-01-01",
            rows=tuple(Row(op_type=op, since=(1, 30), status="native") for op in _OPS),
        )
    )  # fmt: skip
    print(f"table, {len(table.rows)} rows: {time.perf_counter() - started:.3f} s")
    started = time.perf_counter()
    infer_shapes(model)
    print(f"shape inference: {time.perf_counter() - started:.3f} s")
    for what in ("cold", "warm"):
        started = time.perf_counter()
        answer = check(model, table)
        seconds = time.perf_counter() - started
        print(f"check, {what}: {seconds:.3f} s for {answer.nodes} nodes, {answer.supported} supported")


if __name__ == "__main__":
    main()
