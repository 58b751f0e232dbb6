"""Finds which forms of an entry's weights are on this disk: fetched, converted, quantized. It does
not use the network or change anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit import kinds
from toolkit.building.quantization import quantized_place
from toolkit.building.weights import about_adapter, check_digest, read_place
from toolkit.convert.kept import converted_place
from toolkit.facts import Facts
from toolkit.kinds.llm.facts import AdapterFacts
from toolkit.kinds.parts import Model
from toolkit.spec import SourcedEntry
from toolkit.weights.adapters import check_adapter
from toolkit.weights.sources import Fetched
from toolkit.weights.state import find_local


@dataclass(frozen=True, slots=True)
class State:
    """`fetched` is the source, `converted` and `quantized` are cache folders; None for what is not
    here yet. `facts` are those of the converted weights. `models` are the public model and its
    steps, made from wide facts where `facts` is None; empty for a kind without wide facts."""

    fetched: Fetched | None = None
    converted: Path | None = None
    quantized: Path | None = None
    facts: Facts | None = None
    models: Sequence[Model] = ()


def find_state(entry: SourcedEntry, folder: Path) -> State:
    """What is in the cache for an entry; `folder` is where relative paths start. Raises SourceError
    if a local source is missing or changed, and MissingExtra without the libraries of its kind."""
    fetched = find_local(entry.origin, folder)
    if fetched is None:
        return State()
    check_digest(fetched, entry)
    kind = kinds.of(entry)
    place = converted_place(kind.conversion(fetched.path), fetched.digest)
    quantized = None
    if (number_type := kind.quantization(entry)) is not None:
        quantized = _existing(quantized_place(number_type, place))
    # quantized weights may be here without their source's, which can be pruned
    if not place.exists():
        return State(fetched, quantized=quantized)
    return State(fetched, place, quantized, read_place(quantized or place))


def with_adapters(entry: SourcedEntry, facts: Facts, folder: Path) -> Facts:
    """Facts of a model with those of its adapters that are already on this disk.

    Raises SourceError if one of them is not a LoRA adapter or was changed.
    """
    about = {}
    for name, adapter in kinds.of(entry).adapters(entry).items():
        with about_adapter(name):
            if (fetched := find_local(adapter.origin, folder)) is not None:
                check_digest(fetched, adapter)
                rank = check_adapter(name, fetched.path)
                about[name] = AdapterFacts(rank=rank, digest=fetched.digest)
    return facts.model_copy(update={"adapters": about}) if about else facts


def _existing(place: Path) -> Path | None:
    return place if place.exists() else None
