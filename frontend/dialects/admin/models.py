"""Models as operators see them, and the body that loads or unloads one."""

import math
from typing import Annotated

from msgspec import Meta

from frontend.dialects.admin.answers import Shown
from frontend.dialects.declare import Body, about
from frontend.domain.copies import Copy, StoredModel
from frontend.domain.models import Version

Seconds = Annotated[int, Meta(ge=0, le=3600)]


class ModelChangeBody(Body, kw_only=True):
    """Which model to load or unload, and where."""

    model: Annotated[str, Meta(min_length=1, max_length=256), about("Its name, or an alias.")]
    upstream: Annotated[
        str | None, about("The upstream. Default: every upstream that has the model.")
    ] = None
    wait_s: Annotated[
        Seconds | None,
        about("Seconds to wait for the result; the answer is sent then, and the work continues."),
    ] = None


def show_model(one: StoredModel) -> Shown:
    """A model with its copies."""
    model = one.model
    return {
        "id": one.name,
        "object": "model",
        "state": one.state,
        "kind": None if model is None else model.kind,
        "aliases": [] if model is None else [*model.aliases, *model.patterns],
        "size_bytes": None if model is None else model.details.size_bytes or None,
        "quantization": None if model is None else model.details.quantization or None,
        "context_length": None if model is None else model.context_length,
        "last_used_at": _instant(one.used_at_s),
        "upstreams": [_show_copy(copy) for copy in one.copies],
    }


def _show_copy(one: Copy) -> Shown:
    return {
        "upstream": one.upstream,
        "state": one.state,
        "versions": [_show_version(version) for version in one.versions],
        "running": one.running,
        "last_used_at": _instant(one.used_at_s),
        "on_demand": one.keep_s < math.inf,
        "keep_s": None if one.keep_s == math.inf else one.keep_s,
        "expires_at": _instant(one.expires_s),
        "error": one.error,
    }


def _show_version(one: Version) -> Shown:
    used = _instant(one.used_at_s)
    return {"version": one.number, "state": one.state, "last_used_at": used}


def _instant(at_s: float | None) -> int | None:
    return None if at_s is None else int(at_s)
