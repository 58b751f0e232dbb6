"""Duplicate keys in the maps of a config; protobuf silently keeps the last entry.

This module finds them; the rules decide what is wrong.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor

from toolkit.model_config import ModelConfig
from toolkit.verifier.ensemble import Ensemble
from toolkit.verifier.model import Model
from toolkit.verifier.tree import Entry


@dataclass(frozen=True, slots=True)
class Shadowed:
    """An entry of the map `field` that a later entry with the same `key` replaces."""

    field: str
    key: str
    entry: Entry
    kept: Entry

    @property
    def lost(self) -> str:
        """The value that is ignored; "" for a message."""
        return _text(self.entry)

    @property
    def taken(self) -> str:
        return _text(self.kept)


def shadowed(model: Model) -> list[Shadowed]:
    """All replaced entries of a config, in the order of the text."""
    return list(_shadowed(model.tree, ModelConfig.DESCRIPTOR, ""))


def _shadowed(entry: Entry, message: Descriptor, path: str) -> Iterator[Shadowed]:
    counts: dict[str, int] = {}
    last: dict[tuple[str, str], Entry] = {}
    for child in entry.children or []:
        index = counts[child.name] = counts.get(child.name, -1) + 1
        field = message.fields_by_name.get(child.name)
        inner = field.message_type if field is not None else None
        # unknown fields and scalars are for other rules
        if not isinstance(inner, Descriptor) or child.children is None or field is None:
            continue
        if not inner.GetOptions().map_entry:
            here = f"{path}{child.name}" + (f"[{index}]." if field.is_repeated else ".")
            yield from _shadowed(child, inner, here)
            continue
        # a missing key is "", as in protobuf
        key = "".join(each.text() for each in child.named("key")[-1:])
        before = last.get((child.name, key))
        if before is not None and _content(before) != _content(child):
            yield Shadowed(f"{path}{child.name}", key, before, child)
        last[child.name, key] = child


def _content(entry: Entry) -> list[str]:
    """The content of an entry without its layout; two equal entries do no harm."""
    return [text for each in entry.walk() for text in (each.name, each.text())]


def _text(entry: Entry) -> str:
    values = [each for each in entry.named("value") if each.children is None]
    return values[-1].text() if values else ""


def breaks(ensemble: Ensemble, each: Shadowed) -> bool:
    """Whether the ensemble's graph lacks a tensor because this entry was replaced."""
    inputs, outputs = set(ensemble.inputs), set(ensemble.outputs)
    if each.field.endswith("output_map"):
        needed = {*ensemble.readers, *outputs}
        return (each.lost in needed and each.lost not in ensemble.writers) or (
            each.taken not in needed
        )
    sources = {*inputs, *ensemble.writers}
    return (each.lost in sources and each.lost not in {*ensemble.readers, *outputs}) or (
        each.taken not in sources
    )


def explained(model: Model, ensemble: Ensemble) -> set[str]:
    """Tensors that are missing or unread because an entry of a map was replaced."""
    names: set[str] = set()
    for each in shadowed(model):
        if each.field.endswith(("input_map", "output_map")) and breaks(ensemble, each):
            names |= {each.lost, each.taken}
    return names
