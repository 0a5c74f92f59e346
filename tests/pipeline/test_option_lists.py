"""Options that are lists, as the command line writes them."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
import pytest

from graphopt.cli.options import Names
from graphopt.errors import RecipeError
from graphopt.options import parse_spec
from graphopt.pipeline import Context, Pass, PassResult


class Crops(Pass):
    """Has options of many kinds."""

    name = "crops"
    fidelity = "exact"

    @dataclass(frozen=True)
    class Options:
        """Options of the pass."""

        axes: tuple[int, ...] = ()
        names: list[str] | None = None
        pairs: tuple[tuple[int, int], ...] = ()

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Do nothing."""
        return PassResult(0)


@pytest.mark.parametrize(
    ("spec", "axes", "names", "pairs"),
    [
        ("crops:axes=[0,2]", (0, 2), None, ()),
        ("crops:axes=[ 0, -1 ],names=[a,b c]", (0, -1), ["a", "b c"], ()),
        ("crops:axes=[],pairs=[[0,1],[2,3]]", (), None, ((0, 1), (2, 3))),
        ("crops", (), None, ()),
    ],
)
def test_a_list_is_written_in_brackets_and_reads_back(spec: str, axes: object, names: object, pairs: object) -> None:
    name, options = parse_spec(spec, "-p")
    one = Crops(**options)
    assert (name, one.options.axes, one.options.names, one.options.pairs) == ("crops", axes, names, pairs)
    again = Crops(**parse_spec(one.spec, "-p")[1])
    assert again.options == one.options


def test_a_list_of_the_wrong_kind_is_named() -> None:
    with pytest.raises(RecipeError, match="crops, option axes"):
        Crops(**parse_spec("crops:axes=[one]", "-p")[1])


def test_commas_in_brackets_do_not_part_backends() -> None:
    assert Names().convert("a:k=[1,2],j=3,b,c:x=[u,v]", None, None) == ("a:k=[1,2],j=3", "b", "c:x=[u,v]")
