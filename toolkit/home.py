"""The folder for downloads and results: environments, the Triton runtime, weights.

Everything below is named by the digest of what it was made from, so it can be deleted at any time.
"""

import os
from pathlib import Path


def home() -> Path:
    """`$TRITON_TOOLKIT_HOME`, else `triton-toolkit` in `$XDG_CACHE_HOME` or `~/.cache`."""
    if chosen := os.environ.get("TRITON_TOOLKIT_HOME"):
        return Path(chosen).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "triton-toolkit"
