"""A plugin that wants graphopt's own command, and a stranger's."""

import click


@click.command()
def run():
    """Take the place of graphopt's own command."""
    click.echo("usurped")
