"""Duplicate keys in maps."""

from collections.abc import Iterator
from dataclasses import replace

from toolkit.verifier.finding import Effect, ModelFinding, draft
from toolkit.verifier.maps import Shadowed, breaks, shadowed
from toolkit.verifier.model import Model
from toolkit.verifier.rule import rule
from toolkit.verifier.rules.ensembles import graph
from toolkit.verifier.tree import Entry

_TAKES_LAST = "{target} uses the last entry and ignores this one"


@rule("map-key-twice", "Duplicate key in a map", Effect.IGNORED)
def map_key_twice(model: Model) -> Iterator[ModelFinding]:
    """If a map contains a key twice, the server uses the last entry without a warning.

    In the `input_map` or `output_map` of a step the first tensor is then not read or not written.
    If the ensemble needs it, the server refuses the ensemble.
    """
    ensemble = graph(model)
    for each in shadowed(model):
        mapping = each.field.endswith(("input_map", "output_map"))
        refused = mapping and ensemble is not None and breaks(ensemble, each)
        yield draft(
            replace(model.at_entry(_key(each)), field=f'{each.field}["{each.key}"]'),
            f"the key '{each.key}' appears twice in {each.field.rpartition('.')[2]}"
            + (f", first for '{each.lost}', then for '{each.taken}'" if each.lost else ""),
            f"remove one of the two entries, or correct the {'key' if refused else 'name'} of one",
            "" if refused else _TAKES_LAST,
            Effect.REFUSED if refused else None,
        )


def _key(each: Shadowed) -> Entry:
    keys = each.entry.named("key")
    return keys[-1] if keys else each.entry


RULES = (map_key_twice,)
