"""Keys that stand twice in one map."""

from collections.abc import Iterator

from toolkit.verify.maps import Shadowed, breaks, shadowed
from toolkit.verify.model import Hit, Model
from toolkit.verify.position import place_of_entry
from toolkit.verify.problem import Effect
from toolkit.verify.rule import rule
from toolkit.verify.rules.ensembles import graph
from toolkit.verify.tree import Entry

_TAKES_LAST = "{target} takes the last one and ignores this one"


@rule("map-key-twice", "Key that stands twice in a map", Effect.IGNORED)
def map_key_twice(model: Model) -> Iterator[Hit]:
    """Of two different entries with one key the server takes the last, without a word.

    In the `input_map` or `output_map` of a step the first tensor is then not read or not written:
    where the ensemble needs it, the server refuses the ensemble.
    """
    ensemble = graph(model)
    for each in shadowed(model):
        mapping = each.field.endswith(("input_map", "output_map"))
        refused = mapping and ensemble is not None and breaks(ensemble, each)
        yield Hit(
            place_of_entry(model.file, model.lines, _key(each)),
            f'{each.field}["{each.key}"]',
            f"the key '{each.key}' stands twice in {each.field.rpartition('.')[2]}"
            + (f", here for '{each.lost}' and then for '{each.taken}'" if each.lost else ""),
            f"remove one of the two, or fix the {'key' if refused else 'name'} of one",
            "" if refused else _TAKES_LAST,
            Effect.REFUSED if refused else None,
        )


def _key(each: Shadowed) -> Entry:
    keys = each.entry.named("key")
    return keys[-1] if keys else each.entry


RULES = (map_key_twice,)
