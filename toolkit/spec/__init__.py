"""models.yaml: what may stand in it, and how it is read. Knows no weights and no Triton."""

from toolkit.spec.entries import (
    Catalogue,
    DiffusionEntry,
    EmbeddingEntry,
    Entry,
    LlmEntry,
    Spec,
)
from toolkit.spec.load import load, parse
from toolkit.spec.source import HubSource, PackageSource, PathSource, Source

__all__ = [
    "Catalogue",
    "DiffusionEntry",
    "EmbeddingEntry",
    "Entry",
    "HubSource",
    "LlmEntry",
    "PackageSource",
    "PathSource",
    "Source",
    "Spec",
    "load",
    "parse",
]
