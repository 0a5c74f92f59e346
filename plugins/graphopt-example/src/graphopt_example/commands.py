"""A command; what it needs is imported when it is called."""

from __future__ import annotations

from collections import Counter

import click


@click.command()
@click.argument("model")
def count(model: str) -> None:
    """Print how often each operator occurs in MODEL."""
    import graphopt

    found = Counter(node.op_type for node in graphopt.load(model).graph.all_nodes())
    for operator, times in found.most_common():
        click.echo(f"{times:5} {operator}")
