"""The response cache as JSON, and the body that empties it."""

from typing import Annotated, Any

from msgspec import Meta

from frontend.dialects.admin.answers import Shown
from frontend.dialects.declare import Body, about

_OWNER = "^(key|user|group|organisation):.+$"
Owner = Annotated[str, Meta(pattern=_OWNER, max_length=200)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]


class PurgeBody(Body, kw_only=True):
    """Which entries to delete; without a field all of them."""

    owner: Annotated[
        Owner | None,
        about(
            "The owner, in the form of the cache's scope: 'user:ID', 'key:ID', 'group:ID' or"
            " 'organisation:ID'."
        ),
    ] = None
    model: Annotated[Name | None, about("The model, by its own name, not an alias.")] = None


def show_cache(facts: dict[str, Any]) -> Shown:
    """The statistics of the cache, with the hit rate."""
    asked = facts["hits"] + facts["misses"]
    return {**facts, "hit_rate": round(facts["hits"] / asked, 4) if asked else None}
