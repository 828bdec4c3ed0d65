"""`goflow completion SHELL`: the script that makes Tab work."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the completion script for SHELL.

    \b
    bash:  eval "$(goflow completion bash)"     in ~/.bashrc
    zsh:   eval "$(goflow completion zsh)"      in ~/.zshrc
    fish:  goflow completion fish | source      in ~/.config/fish/config.fish
    """
    from goflow_cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None, "the choices are those click knows"
    print(kind(cli, {}, "goflow", "_GOFLOW_COMPLETE").source())
    return 0
