"""`graphopt completion`: the script that completes commands in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that completes commands, options, passes, backends and files in SHELL.

    \b
      echo 'eval "$(graphopt completion bash)"' >> ~/.bashrc
      echo 'eval "$(graphopt completion zsh)"' >> ~/.zshrc
      graphopt completion fish > ~/.config/fish/completions/graphopt.fish

    It takes effect in the next shell. Names come from what is installed, plugins included.
    """
    from graphopt.cli.main import cli

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(cli, {}, "graphopt", "_GRAPHOPT_COMPLETE").source())
