"""The CLI's package: models.yaml → weights → model repository → a running Triton.

Imports point one way: cli → build, serve → runtime, repository, convert, weights → spec → errors.
Only `cli` knows typer and rich; it never imports `frontend`.
"""

__version__ = "0.1.0"
