"""`GET /v1/models` for Anthropic's clients, which are recognized by a header."""

from datetime import UTC, datetime
from typing import Any

import orjson

from frontend.domain.models import Model

HEADER = b"anthropic-version"


def render_models(models: list[Model]) -> bytes:
    """All models on one page."""
    data = [_model(model) for model in models]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
    return orjson.dumps({"data": data, "has_more": False, "first_id": None, "last_id": None} | ends)


def render_model(model: Model) -> bytes:
    """One model."""
    return orjson.dumps(_model(model))


def _model(model: Model) -> dict[str, Any]:
    created = datetime.fromtimestamp(model.created_s, UTC).isoformat().replace("+00:00", "Z")
    shown = {"type": "model", "id": model.name, "display_name": model.name, "created_at": created}
    if model.context_length:
        shown |= {"max_input_tokens": model.context_length, "max_tokens": model.context_length}  # type: ignore[dict-item]
    return shown
