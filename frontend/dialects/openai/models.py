"""`GET /v1/models`: the served models, in OpenAI's shape with extensions that clients read."""

import hashlib
from functools import lru_cache
from typing import Any

import orjson

from frontend.domain.models import Model


def render_models(models: list[Model]) -> bytes:
    """The list of models."""
    return orjson.dumps({"object": "list", "data": [_model(model) for model in models]})


def render_model(model: Model) -> bytes:
    """One model."""
    return orjson.dumps(_model(model))


def fingerprint(model: Model) -> str:
    """Identifies the weights and their serving; with another one a seed may give another answer."""
    return _fingerprint(model.name, model.details, model.created_s, model.context_length)


@lru_cache(maxsize=256)
def _fingerprint(*known: Any) -> str:
    return f"fp_{hashlib.sha256(repr(known).encode()).hexdigest()[:10]}"


def _model(model: Model) -> dict[str, Any]:
    known = {
        "id": model.name,
        "object": "model",
        "created": model.created_s,
        "owned_by": model.owned_by,
        "kind": model.kind,
        "capabilities": sorted(model.capabilities),
        "aliases": list(model.aliases),
        "alias_patterns": list(model.patterns) or None,
        "context_length": model.context_length,
        # vLLM's name of the same number
        "max_model_len": model.context_length,
        "dimensions": model.dimensions,
        "matryoshka": sorted(model.matryoshka) or None,
    }
    return {name: value for name, value in known.items() if value is not None}
