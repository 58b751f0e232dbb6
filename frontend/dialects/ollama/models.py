"""Renders the served models for `/api/tags`, `/api/show` and `/api/ps`, and reads their names.

A name without a tag means the tag `latest`. Unknown facts are omitted, or are the type's empty
value if clients expect one.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson

from frontend.dialects.declare import Open, about
from frontend.dialects.read import read
from frontend.dialects.refusal import refuse
from frontend.domain.models import Model

VERSION = "0.30.0"
"""The release of Ollama whose API this speaks."""
_LATEST = ":latest"
_FOREVER = "2318-01-01T00:00:00Z"  # what Ollama says about a model that stays
_CAPABILITIES = {
    "completion": "completion",
    "tools": "tools",
    "vision": "vision",
    "infill": "insert",
    "reasoning": "thinking",
    "embedding": "embedding",
    "image": "image",
}


class NameBody(Open, kw_only=True):
    """A model by its name."""

    model: Annotated[str | None, about("The model's name, as GET /api/tags lists it.")] = None
    name: Annotated[str | None, about("An older name of the field 'model'.")] = None


class PullBody(NameBody, kw_only=True):
    """A model that is to be loaded."""

    stream: Annotated[bool | None, about("Send lines of JSON until it is loaded.")] = None


def full_name(name: str) -> str:
    """The name with its tag."""
    return name if ":" in name else name + _LATEST


def parse_name(body: object) -> str:
    """The model that a small request names. Raises InvalidRequest if it does not name one."""
    return name_of(read(NameBody, body))


def parse_pull(body: object) -> tuple[str, bool]:
    """The model that is to be loaded, and whether its progress is streamed."""
    given = read(PullBody, body)
    return name_of(given), given.stream is not False


def name_of(body: NameBody) -> str:
    """The model's name. Raises InvalidRequest where there is none."""
    if not (name := body.model or body.name):
        raise refuse("model", "is required")
    return name


def render_version() -> bytes:
    """GET /api/version"""
    return orjson.dumps({"version": VERSION})


def render_tags(models: dict[str, Model]) -> bytes:
    """Every name that a client may ask for."""
    return orjson.dumps({"models": [_listed(name, model) for name, model in models.items()]})


def render_running(models: Iterable[tuple[Model, float | None]]) -> bytes:
    """The models that are loaded, and when each expires, in seconds since 1970; None: never."""
    running = []
    for model, expires_s in models:
        shown = _listed(model.name, model)
        expires = _FOREVER if expires_s is None else _moment(expires_s)
        # clients show `size_vram / size` as the part that runs on a GPU
        shown |= {"expires_at": expires, "size_vram": model.details.size_bytes}
        # Ollama's /api/ps does not have it
        del shown["modified_at"]
        running.append(shown | {"context_length": model.context_length or 0})
    return orjson.dumps({"models": running})


def render_show(model: Model) -> bytes:
    """One model."""
    family = model.details.family or model.kind
    info: dict[str, Any] = {"general.architecture": family, "general.basename": model.name}
    if model.details.parameters:
        info["general.parameter_count"] = model.details.parameters
    if model.context_length:
        info[f"{family}.context_length"] = model.context_length
    if model.dimensions:
        info[f"{family}.embedding_length"] = model.dimensions
    abilities = capabilities(model)
    parameters = f"num_ctx {model.context_length}" if model.context_length else ""
    return orjson.dumps(
        {
            "modelfile": f"# served by Triton\nFROM {model.name}\n",
            "parameters": parameters,
            "template": _template(abilities),
            "license": "",
            "details": _details(model),
            "model_info": info,
            "capabilities": abilities,
            "modified_at": _moment(model.created_s),
        }
    )


def capabilities(model: Model) -> list[str]:
    """Ollama's names of a model's capabilities."""
    return [word for ours, word in _CAPABILITIES.items() if ours in model.capabilities]


def _listed(name: str, model: Model) -> dict[str, Any]:
    return {
        "name": full_name(name),
        "model": full_name(name),
        "modified_at": _moment(model.created_s),
        "size": model.details.size_bytes,
        # clients tell models apart by the digest, so it must not be empty
        "digest": model.details.digest or hashlib.sha256(model.name.encode()).hexdigest(),
        "details": _details(model),
    }


def _details(model: Model) -> dict[str, Any]:
    family = model.details.family or model.kind
    return {
        "parent_model": "",
        "format": "triton",
        "family": family,
        "families": [family],
        "parameter_size": _short(model.details.parameters),
        "quantization_level": model.details.quantization,
    }


def _short(parameters: int) -> str:
    """134515008 → "134.52M"."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if parameters >= size:
            return f"{parameters / size:.2f}".rstrip("0").rstrip(".") + letter
    return str(parameters or "")


def _template(abilities: list[str]) -> str:
    """Clients look into it for what the model can do; the real one is applied in the model."""
    suffix = "{{ if .Suffix }}{{ .Suffix }}{{ end }}" if "insert" in abilities else ""
    tools = "{{ if .Tools }}{{ .Tools }}{{ end }}" if "tools" in abilities else ""
    return "{{ .System }}" + tools + "{{ .Prompt }}" + suffix + "{{ .Response }}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
