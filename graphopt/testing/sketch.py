"""Random graphs for rules: the `g` of a rule's example.

    @fold.example
    def _(g):
        x = g.input(g.shape())
        g.output(g.Mul(x, g.constant(1.0)))

Every call that chooses (`shape`, `integer`, `pick`, `flag`, …) draws from one source of randomness, so hypothesis can
shrink a failing graph, and a seed repeats one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

T = TypeVar("T")


class Sketch:
    """A graph in the making. `g.Conv(x, w, strides=[2, 2])` adds a node and returns the name of its output.

    Args:
        source: where choices come from.
        opset: of the default domain.
    """

    FLOAT: ClassVar[int] = 1
    INT8: ClassVar[int] = 3
    INT32: ClassVar[int] = 6
    INT64: ClassVar[int] = 7
    BOOL: ClassVar[int] = 9
    DOUBLE: ClassVar[int] = 11

    def __init__(self, source: random.Random, opset: int = 17) -> None:
        self._source, self.opset = source, opset
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: dict[str, int | None] = {}
        self._constants: list[Any] = []
        self._count = 0
        self._ranks: dict[str, int] = {}
        self._finite: set[str] = set()
        self._sizes: dict[str, int] = {}
        self._domains: dict[str, int] = {}

    def since(self, version: int, domain: str = "") -> None:
        """Raise the opset to the first one that has what the example needs; of another domain than the default, 1."""
        if domain:
            self._domains[domain] = max(self._domains.get(domain, 1), version)
        else:
            self.opset = max(self.opset, version)

    # Choices

    def integer(self, low: int, high: int) -> int:
        """A number from low to high, both possible."""
        return self._source.randint(low, high)

    def flag(self) -> bool:
        """Heads or tails."""
        return self._source.random() < 0.5

    def pick(self, options: Sequence[T]) -> T:
        """One of several."""
        return options[self._source.randrange(len(options))]

    def shape(self, least: int = 0, most: int = 4) -> list[int]:
        """A shape with `least` to `most` dimensions of 1 to 5."""
        return [self.integer(1, 5) for _ in range(self.integer(least, most))]

    def permutation(self, rank: int) -> list[int]:
        """An order of axes."""
        return self._source.sample(range(rank), rank)

    def normal(self, *shape: int) -> np.ndarray:
        """Normally distributed float32."""
        return np.asarray(self._numbers().standard_normal(shape), np.float32)

    def positive(self, *shape: int) -> np.ndarray:
        """float32 from 0.5 to 2."""
        return np.asarray(self._numbers().uniform(0.5, 2, shape), np.float32)

    def _numbers(self) -> np.random.Generator:
        # One draw for a whole array: the source may be hypothesis, which would rather choose extremes, one by one.
        return np.random.default_rng(self._source.getrandbits(32))

    # Parts of the graph

    def _fresh(self, stem: str) -> str:
        self._count += 1
        return f"{stem}{self._count}"

    def input(self, shape: Sequence[int | str], dtype: int = 1, *, static: bool = False, finite: bool = False) -> str:
        """An input of the graph; some of its dimensions become symbolic, unless the rule needs numbers.

        A dimension given by name is symbolic in any case, of 0 to 4 elements, the same wherever its name is.
        `finite` is for a rule that says that it holds for numbers only: no infinity and no NaN is tried.
        """
        import onnx

        name = self._fresh("x")
        sizes = [self._size(size) if isinstance(size, str) else size for size in shape]
        symbolic = [not static and self._source.random() < 0.1 for _ in shape]
        dims = [
            f"d{axis}_{name}" if symbolic[axis] and size == sizes[axis] else size for axis, size in enumerate(shape)
        ]
        self._inputs.append((onnx.helper.make_tensor_value_info(name, dtype, dims), sizes))
        self._ranks[name] = len(shape)
        if finite:
            self._finite.add(name)
        return name

    def _size(self, name: str) -> int:
        if name not in self._sizes:
            self._sizes[name] = self.integer(0, 4)
        return self._sizes[name]

    def constant(self, content: Any) -> str:
        """A constant: floats are float32, integers int64; an initializer or a Constant node, as it falls."""
        import onnx

        array = np.asarray(content)
        if array.dtype == np.float64:
            array = array.astype(np.int64 if array.size == 0 else np.float32)
        name = self._fresh("c")
        tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        if self.flag():
            self._constants.append(tensor)
        else:
            self._nodes.append(onnx.helper.make_node("Constant", [], [name], value=tensor))
        self._ranks[name] = array.ndim
        return name

    def indices(
        self, low: int, high: int, shape: Sequence[int], *, computed: bool | None = None, long: bool = False
    ) -> str:
        """Integers from low to high, both possible: constant, or computed from an input; int64, or int32 as well."""
        dtype = self.INT64 if long else self.pick([self.INT32, self.INT64])
        if not (self.flag() if computed is None else computed):
            drawn = self._numbers().integers(low, high + 1, tuple(shape))
            return self.constant(drawn.astype(np.int32 if dtype == self.INT32 else np.int64))
        spread = self.Mul(self.Tanh(self.input(shape, static=True, finite=True)), self.constant((high - low) / 2))
        whole = self.Floor(self.Add(spread, self.constant((high + low) / 2)))
        return str(self.Cast(self.Max(whole, self.constant(float(low))), to=dtype))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name[0].isupper():
            raise AttributeError(name)
        return lambda *inputs, **options: self.op(name, *inputs, **options)

    def op(self, op_type: str, *inputs: str | None, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """A node; returns the name of its output, or a tuple of names."""
        import onnx

        made = [self._fresh(op_type.lower()) for _ in range(outputs)]
        named = [one or "" for one in inputs]
        self._nodes.append(
            onnx.helper.make_node(op_type, named, made, name=self._fresh("n"), domain=domain, **attributes)
        )
        for one in made:
            self._ranks[one] = self._ranks.get(named[0], 0) if named else 0
        return made[0] if outputs == 1 else tuple(made)

    def output(self, name: str, rank: int | None = None) -> None:
        """Make a value an output of the graph; a value that is one already, or an input, gets an Identity.

        Args:
            name: of the value.
            rank: to be given where the onnx package cannot tell it, since the shape is computed.
        """
        if name in self._outputs or any(i.name == name for i, _ in self._inputs):
            name = self.op("Identity", name)
        self._outputs[name] = rank

    def layer(
        self,
        kinds: Sequence[str] = ("Conv", "ConvTranspose", "Gemm"),
        before: Callable[[str, int], str] = lambda value, channels: value,
        *,
        static: bool = False,
    ) -> tuple[str, int]:
        """A layer of one of these kinds (MatMul is another) with random geometry.

        Args:
            kinds: to pick from.
            before: what to do to its input, given that and how many channels it has; returns what the layer reads.
            static: whether the sizes of its input are known.

        Returns:
            Its output, and how many channels that has.
        """
        kind = self.pick(kinds)
        groups = self.pick([1, 1, 2])
        options: dict[str, Any]
        a, b = self.integer(1, 3), self.integer(1, 3)
        if kind in ("Gemm", "MatMul"):
            transposed = kind == "Gemm" and self.flag()
            k, n = a + 1, b + 1
            lead = [self.integer(1, 3)] if kind == "Gemm" else self.shape(least=1, most=2)
            x = before(self.input([*lead, k], static=static), k)
            weight = self.constant(self.normal(*((n, k) if transposed else (k, n))))
            if kind == "MatMul":
                return self.op("MatMul", x, weight), n
            bias = [self.constant(self.normal(*self.pick([(n,), (1, n), (1,)])))] if self.flag() else []
            options = {"transB": int(transposed), "alpha": self.pick([1.0, 0.5]), "beta": self.pick([1.0, 2.0])}
            return self.op("Gemm", x, weight, *bias, **options), n
        spatial = self.integer(1, 2)
        kernel = [self.integer(1, 3) for _ in range(spatial)]
        sizes = [self.integer(1, 2), a * groups, *(self.integer(3, 6) for _ in range(spatial))]
        x = self.input(sizes, static=static)
        x = before(x, a * groups)
        lead = [b * groups, a] if kind == "Conv" else [a * groups, b]
        weight = self.constant(self.normal(*lead, *kernel))
        bias = [self.constant(self.normal(b * groups))] if self.flag() else []
        options = {"group": groups, "strides": [self.integer(1, 2)] * spatial}
        return self.op(kind, x, weight, *bias, **options), b * groups

    def along_channels(self, value: str, channels: int) -> np.ndarray:
        """A constant with one element, or one for each channel (axis 1) of a value."""
        rank = self._ranks[value]
        shape = self.pick([(), (1,) * rank, (1, channels) + (1,) * (rank - 2), (channels,) + (1,) * (rank - 2)])
        return self.normal(*shape) + np.float32(0.1)

    def model(self) -> Any:
        """The graph as a checked ModelProto, with shapes of outputs left open."""
        import onnx

        outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in self._outputs]
        graph = onnx.helper.make_graph(
            self._nodes, "sketch", [info for info, _ in self._inputs], outputs, self._constants
        )
        opsets = [onnx.helper.make_opsetid("", self.opset)]
        opsets += [
            onnx.helper.make_opsetid(domain, self._domains.get(domain, 1))
            for domain in sorted({n.domain for n in self._nodes} - {""})
        ]
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        for output, known in zip(model.graph.output, inferred.graph.output, strict=True):
            output.CopyFrom(known)
            if not output.type.WhichOneof("value"):
                output.type.tensor_type.elem_type = self.FLOAT  # the onnx package does not know the operator
            tensor = output.type.tensor_type
            if self._outputs[output.name] == 0:
                tensor.shape.SetInParent()
            for _ in range(0 if tensor.HasField("shape") else self._outputs[output.name] or 0):
                tensor.shape.dim.add()
        if all(node.domain or onnx.defs.has(node.op_type) for node in self._nodes):
            onnx.checker.check_model(model)  # which refuses what onnxruntime adds to the default domain
        return model

    def feeds(self, seed: int) -> dict[str, np.ndarray]:
        """Inputs for the model: ordinary numbers, and sometimes zeros of both signs, infinities and NaN."""
        import onnx

        rng = np.random.default_rng(seed)
        found = {}
        for info, shape in self._inputs:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
            array = rng.standard_normal(shape) * rng.choice([1.0, 4.0, 100.0])
            if dtype.kind == "f" and seed % 3 == 2:
                special = np.array([0.0, -0.0] if info.name in self._finite else [0.0, -0.0, np.inf, -np.inf, np.nan])
                mask = rng.random(shape) < 0.2
                array = np.where(mask, rng.choice(special, shape), array)
            found[info.name] = np.asarray(array > 0 if dtype.kind == "b" else array, dtype)
        return found
