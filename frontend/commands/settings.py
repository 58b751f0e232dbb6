"""The help of `triton-gateway serve` and `check`: every setting, read from their declarations."""

import gc

from pydantic_settings import CliApp

from frontend.settings import Settings


def print_help() -> None:
    """Prints it, and exits."""
    # the process ends here: collecting garbage while pydantic builds classes costs a tenth
    gc.disable()
    CliApp.run(Settings, cli_args=["--help"])
