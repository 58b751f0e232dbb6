"""The whole models.yaml: a version and the models by their names."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from toolkit.fields.entry import BaseEntry, Name
from toolkit.fields.strict import Strict
from toolkit.kinds import all_kinds

ENTRIES: dict[str, type[BaseEntry]] = {name: kind.entry for name, kind in all_kinds().items()}
"""The fields of each kind."""

if TYPE_CHECKING:
    Entry = BaseEntry
else:
    # with a discriminator pydantic reports the errors of one kind, not of all
    Entry = Annotated[reduce(or_, ENTRIES.values()), Field(discriminator="kind")]

ENTRY: TypeAdapter[BaseEntry] = TypeAdapter(Entry)


class Models(Strict):
    """A whole models.yaml."""

    version: Literal[1] = Field(description="The version of this file's format: 1.")
    models: dict[Name, Entry] = Field(
        min_length=1, description="Models by the name that clients use."
    )


def entry_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of one kind's entries."""
    return TypeAdapter(ENTRIES[kind]).json_schema()
