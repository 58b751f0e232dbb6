"""`toolkit completion`: the script that makes a shell complete commands, options and values."""

from typing import Annotated, Literal

import typer
from typer._completion_shared import get_completion_script

from toolkit.cli.commands import COMPLETE


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Your shell.")],
) -> None:
    """Print the completion script of a shell.

    Examples:

        toolkit completion bash >> ~/.bashrc

        toolkit completion fish > ~/.config/fish/completions/toolkit.fish
    """
    script = get_completion_script(prog_name="toolkit", complete_var=COMPLETE, shell=shell)
    if shell == "bash":  # which would split `container:26.08` into three words
        typer.echo("COMP_WORDBREAKS=${COMP_WORDBREAKS//:}")
    typer.echo(script)
