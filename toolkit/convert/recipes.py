"""The conversions by name, and the key under which a result is kept.

The key covers everything that decides the result's bytes: the source, the recipe's version and the
libraries' versions. This module imports none of those libraries.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from toolkit.convert.quiet import quiet
from toolkit.errors import MissingExtra
from toolkit.facts import Facts
from toolkit.progress import Progress

Convert = Callable[[Path, Path, Progress], Facts]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A conversion: `module` is imported only to run it; `libraries` are distributions it uses."""

    module: str
    function: str
    revision: int
    libraries: tuple[str, ...]

    def key(self, digest: str) -> str:
        """What the result is made from, as one line. Raises MissingExtra."""
        try:
            libraries = {name: version(name) for name in self.libraries}
        except PackageNotFoundError as error:
            raise MissingExtra("weights", f"converting weights (it lacks {error.name})") from error
        return json.dumps([digest, self.module, self.revision, libraries])

    def load(self) -> Convert:
        """The conversion itself: (source, empty folder, progress) → facts. Raises MissingExtra."""
        try:
            with quiet():
                convert: Convert = getattr(import_module(self.module), self.function)
        except ImportError as error:
            raise MissingExtra("weights", f"converting weights ({error})") from error
        return convert


_GGUF = Recipe("toolkit.convert.gguf", "convert_gguf", 5, ("torch", "transformers", "gguf"))
# no libraries: the bytes of a copy do not depend on their versions
_CHECKPOINT = Recipe("toolkit.convert.checkpoint", "convert_checkpoint", 6, ())
_ENCODER = Recipe(
    "toolkit.convert.encoder",
    "convert_encoder",
    3,
    ("torch", "transformers", "sentence-transformers", "onnx", "onnxscript"),
)
_RERANKER = Recipe(
    "toolkit.convert.reranker",
    "convert_reranker",
    3,
    ("torch", "transformers", "sentence-transformers", "onnx", "onnxscript"),
)
_USER = Recipe("toolkit.convert.user", "copy_user_model", 1, ())
_DIFFUSION = Recipe(
    "toolkit.convert.diffusion",
    "convert_diffusion",
    3,
    ("torch", "transformers", "diffusers", "onnx", "onnxscript"),
)


RECIPES = {
    "gguf": _GGUF,
    "checkpoint": _CHECKPOINT,
    "encoder": _ENCODER,
    "cross-encoder": _RERANKER,
    "diffusion": _DIFFUSION,
    "copy": _USER,
}


def recipe(name: str) -> Recipe:
    """The conversion of that name: what `Kind.conversion` says."""
    return RECIPES[name]
