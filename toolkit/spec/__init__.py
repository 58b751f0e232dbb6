"""models.yaml: what may stand in it, and how it is read. Knows no weights and no Triton."""

from toolkit.spec.entries import (
    Adapter,
    Catalogue,
    DiffusionEntry,
    EmbeddingEntry,
    EnsembleEntry,
    Entry,
    LlmEntry,
    PythonEntry,
    RerankEntry,
    SourcedEntry,
)
from toolkit.spec.load import Spec, load, parse
from toolkit.spec.source import (
    GgufSource,
    HubSource,
    ObjectSource,
    PackageSource,
    PathSource,
    Source,
)

__all__ = [
    "Adapter",
    "Catalogue",
    "DiffusionEntry",
    "EmbeddingEntry",
    "EnsembleEntry",
    "Entry",
    "GgufSource",
    "HubSource",
    "LlmEntry",
    "ObjectSource",
    "PackageSource",
    "PathSource",
    "PythonEntry",
    "RerankEntry",
    "Source",
    "SourcedEntry",
    "Spec",
    "load",
    "parse",
]
