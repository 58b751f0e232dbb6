"""The `toolkit` command. Each command group stands in a file of its own and is listed in `app`."""

try:
    from toolkit.cli.app import app, main
except KeyboardInterrupt:  # what is imported takes a second
    raise SystemExit(130) from None

__all__ = ["app", "main"]
