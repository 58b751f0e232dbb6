"""Runs the conversions that kinds name (`Kind.conversion`), and names their results.

A result's key covers everything that decides its bytes: the source, the conversion's revision and
the libraries' versions. This module imports none of those libraries.
"""

import json
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from toolkit.convert.quiet import quiet
from toolkit.errors import MissingExtra
from toolkit.facts import Facts
from toolkit.kinds.conversion import Conversion
from toolkit.progress import Progress

Convert = Callable[[Path, Path, Progress], Facts]


def key_of(conversion: Conversion, digest: str) -> str:
    """The key of a result: everything it is made from, as one line. Raises MissingExtra if a
    library is not installed."""
    try:
        libraries = {name: version(name) for name in conversion.libraries}
    except PackageNotFoundError as error:
        raise MissingExtra("weights", f"converting weights (it lacks {error.name})") from error
    return json.dumps([digest, conversion.module, conversion.revision, libraries])


def load(conversion: Conversion) -> Convert:
    """The conversion's function: (source, empty folder, progress) → facts. Raises MissingExtra if
    its libraries are not installed."""
    try:
        with quiet():
            module = import_module(conversion.module)
            convert: Convert = getattr(module, conversion.function)
    except ImportError as error:
        raise MissingExtra("weights", f"converting weights ({error})") from error
    return convert
