"""The `toolkit` command. Each command group stands in a file of its own and is listed in `app`."""

from toolkit.cli.app import app, main

__all__ = ["app", "main"]
