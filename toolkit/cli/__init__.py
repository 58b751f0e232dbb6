"""The `toolkit` command. Each command has a module of its own, imported when it is run."""

try:
    from toolkit.cli.app import app, main
except KeyboardInterrupt:
    raise SystemExit(130) from None

__all__ = ["app", "main"]
