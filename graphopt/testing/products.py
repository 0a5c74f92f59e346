"""What a rule makes, seen on the graphs that its own examples draw."""

from __future__ import annotations

import random
from collections.abc import Iterable

from graphopt.errors import GraphoptError
from graphopt.ir import infer_shapes, load
from graphopt.ir.edit import PASS_KEY
from graphopt.rewrite import Rule, apply_rules
from graphopt.support.case import qualified
from graphopt.support.table import Table
from graphopt.testing.sketch import Sketch

_TRIES = 12


def products(rule: Rule) -> list[str]:
    """Operators that a rule makes, as in "Mul" or "com.microsoft::Gelu".

    Raises:
        GraphoptError: the rule has no example.
    """
    if not rule.examples:
        raise GraphoptError(f"rule {rule.name} has no example to see its products on")
    made: set[str] = set()
    for seed in range(_TRIES):
        source = random.Random(seed)
        sketch = Sketch(source)
        source.choice(rule.examples)(sketch)
        model = load(sketch.model())
        infer_shapes(model)
        apply_rules(model, [rule], made_by="products")
        made |= {
            qualified(node.domain, node.op_type) for node in model.graph
            if node.metadata_props.get(PASS_KEY) == f"products/{rule.name}"
        }  # fmt: skip
    return sorted(made - {"Constant"})


def never_legal(rule: Rule, tables: Iterable[Table]) -> list[str]:
    """Products of a rule that no backend takes in any form and no table calls anything but unsupported."""
    taken = {
        qualified(row.domain, row.op_type) for table in tables for row in table.rows if row.status != "unsupported"
    }
    return [name for name in products(rule) if name not in taken]
