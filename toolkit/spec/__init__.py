"""Reads and checks models.yaml. It does not depend on weights or Triton."""

from toolkit.fields.entry import BaseEntry, SourcedEntry
from toolkit.fields.source import (
    GgufSource,
    HubSource,
    ObjectSource,
    PackageSource,
    PathSource,
    Source,
)
from toolkit.spec.load import InvalidSpec, Spec, load, parse

__all__ = [
    "BaseEntry",
    "GgufSource",
    "HubSource",
    "InvalidSpec",
    "ObjectSource",
    "PackageSource",
    "PathSource",
    "Source",
    "SourcedEntry",
    "Spec",
    "load",
    "parse",
]
