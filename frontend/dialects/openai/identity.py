"""The fields of every OpenAI request for the model, the end user and the cache."""

from typing import Annotated, Literal

from msgspec import Meta

from frontend.dialects.declare import Body, Object, Off, about
from frontend.dialects.refusal import require
from frontend.domain.caching import MAX_TTL_S

Seconds = Annotated[int, Meta(ge=0, le=MAX_TTL_S)]


class CacheControl(Body, kw_only=True):
    """The request's options for the response cache."""

    use: Annotated[
        bool | None, about("Cache the answer even if it is not deterministic. Default: true.")
    ] = None
    read: Annotated[
        bool | None, about("Whether a cached answer may be returned. Default: true.")
    ] = None
    store: Annotated[bool | None, about("Whether the answer is cached. Default: true.")] = None
    max_age_s: Annotated[
        Seconds | None, about("The maximum age of a cached answer in seconds.")
    ] = None
    ttl_s: Annotated[
        Seconds | None, about("The maximum time in seconds for which the answer is cached.")
    ] = None


class Identity(Body, kw_only=True):
    """The model, the end user and the metadata of a request."""

    model: Annotated[str, about("The model's name, as GET /v1/models lists it.")]
    user: Annotated[str | None, about("An identifier of your end user.")] = None
    safety_identifier: Annotated[
        str | None, about("An identifier of your end user. It is accepted and not used.")
    ] = None
    prompt_cache_key: Annotated[
        str | None, about("Requests with the same key are sent to the same server if possible.")
    ] = None
    cache: Annotated[
        CacheControl | None, about("Options of the response cache, if the operator allows it.")
    ] = None
    metadata: Annotated[Object | None, about("Your own keys and values.")] = None
    service_tier: Annotated[
        Literal["auto", "default"] | None,
        about("Accepted values only: there is one service tier.", reason="there is only one tier"),
    ] = None
    store: Annotated[
        Off | None,
        about("Only false: completions are not stored.", reason="completions are not stored"),
    ] = None


def check_model(body: Identity) -> None:
    """Raises InvalidRequest for an empty name."""
    if not body.model:
        raise require("model")
