"""The base of everything in models.yaml: unknown fields are refused, nothing is converted."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic import Strict as StrictValue

_Item = TypeVar("_Item")
Many = Annotated[tuple[_Item, ...], StrictValue(False)]
"""A list; strictness would refuse one where a validator has rewritten what stood there."""


class Strict(BaseModel):
    """Immutable; numbers in quotes are text, and text is not a number."""

    # extra="forbid": a misspelt field would otherwise be a default without a word
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
