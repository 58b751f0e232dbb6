"""Models that are known by name: where their weights are, how large they are, under which license.

The rows are in models.toml. Reading them uses no network. What fits a machine is decided by
`toolkit.fit`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from toolkit.names import close_models


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """One model. `size_bytes` is what a download takes; `context_length` is the model's maximum.

    `cache` (language models) are layers, key-value heads and numbers of a head; `width` (others) is
    the size of a hidden state, or of a denoiser's first block; `pixels` is a trained side;
    `settings` are fields of its entry in models.yaml.
    """

    name: str
    source: str
    kind: str
    parameters: int
    size_bytes: int
    license: str
    about: str
    context_length: int | None = None
    gated: bool = False
    gpu_only: bool = False
    cache: tuple[int, int, int] | None = None
    width: int | None = None
    pixels: int | None = None
    settings: Mapping[str, float] = field(default_factory=dict)

    @property
    def in_package(self) -> bool:
        """Whether the weights come from the package registry, without the Hugging Face Hub."""
        return self.source.startswith("package:")

    def holds(self, words: str) -> bool:
        """Whether name, source, license or description contain each of the words."""
        text = f"{self.name} {self.source} {self.kind} {self.license} {self.about}".casefold()
        return all(word in text for word in words.casefold().split())


@cache
def catalogue() -> Mapping[str, Available]:
    """All models by name, in the order of the file."""
    text = Path(__file__).with_name("models.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)
    return {name: _available(name, row) for name, row in rows.items()}


def find_available(name: str) -> Available | None:
    """The model of that name, in any case."""
    return catalogue().get(name.lower())


def suggest(name: str) -> str:
    """A hint for a name that is not in the catalogue."""
    if near := close_models(name, catalogue()):
        return f"did you mean {' or '.join(near)}? `toolkit list-available` shows all names"
    return "`toolkit list-available` shows all names"


def _available(name: str, row: dict[str, object]) -> Available:
    if isinstance(shape := row.get("cache"), list):
        row = row | {"cache": tuple(shape)}
    return Available(name=name, **row)  # type: ignore[arg-type]
