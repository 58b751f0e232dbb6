"""The sampling fields that chat and completions share, as vLLM's SamplingParams.

Bounds are OpenAI's where it states them, the engine's for the fields that only engines know.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from frontend.dialects.fields import Fields
from frontend.domain.structure import SchemaUse

ANY_OBJECT = {"type": "object"}
_KINDS = ("json", "regex", "choice", "grammar", "json_object", "structural_tag")
_STRUCTURES = ("structured_outputs", *(f"structured_outputs.{kind}" for kind in _KINDS))
VERBOSITIES = ("low", "medium", "high")
MAX_CHOICES = 128
MAX_STOPS = 64
MAX_BIASES = 4096
MAX_TOKEN_ID = MAX_TOKENS = 2**31 - 1  # they travel as INT32

_GUIDED = ("json", "regex", "choice", "grammar")


def read_sampling(fields: Fields) -> dict[str, Any]:
    """Takes every shared sampling field; what was absent is absent in the result."""
    if fields.exhausted:
        return {}
    found = {
        "temperature": fields.number("temperature", 0, 2),
        "top_p": fields.number("top_p", 0, 1),
        "presence_penalty": fields.number("presence_penalty", -2, 2),
        "frequency_penalty": fields.number("frequency_penalty", -2, 2),
        "n": fields.integer("n", 1, MAX_CHOICES),
        "seed": fields.integer("seed", -(2**63), 2**63 - 1),
        "stop": _stop(fields),
        "logit_bias": _logit_bias(fields),
        **_engine_extras(fields),
        **_structured_outputs(fields),
    }
    if found["top_p"] == 0:  # OpenAI allows it, engines do not: only the likeliest token is left
        found |= {"top_p": None, "top_k": 1}
    return {name: value for name, value in found.items() if value is not None}


def _engine_extras(fields: Fields) -> dict[str, Any]:
    """Fields that OpenAI's API lacks and vLLM's server takes."""
    if fields.exhausted:
        return {}
    return {
        "top_k": fields.integer("top_k", -1, MAX_TOKEN_ID),
        "min_p": fields.number("min_p", 0, 1),
        "repetition_penalty": fields.number("repetition_penalty", 0.01, 10),
        "min_tokens": fields.integer("min_tokens", 0, MAX_TOKENS),
        "ignore_eos": fields.boolean("ignore_eos"),
        "stop_token_ids": fields.token_ids("stop_token_ids"),
        "bad_words": fields.texts("bad_words", 1000),
        "skip_special_tokens": fields.boolean("skip_special_tokens"),
        "spaces_between_special_tokens": fields.boolean("spaces_between_special_tokens"),
        "include_stop_str_in_output": fields.boolean("include_stop_str_in_output"),
        "thinking_token_budget": fields.integer("thinking_token_budget", 0, MAX_TOKENS),
        "priority": fields.integer("priority", -(2**31), 2**31 - 1),
    }


def _stop(fields: Fields) -> list[str] | None:
    stops = fields.texts("stop", MAX_STOPS)
    if stops and "" in stops:
        raise fields.refuse("stop", "has an empty string, which would end every answer at once")
    return stops or None


def _logit_bias(fields: Fields) -> dict[str, float] | None:
    bias = fields.mapping("logit_bias")
    if bias and len(bias) > MAX_BIASES:
        raise fields.refuse(
            "logit_bias", f"has {len(bias)} entries, at most {MAX_BIASES} are allowed"
        )
    for token, value in (bias or {}).items():
        if not (
            token.isascii()
            and token.isdecimal()
            and len(token) <= 10
            and int(token) <= MAX_TOKEN_ID
        ):
            raise fields.refuse("logit_bias", f"has the key {token[:20]!r}, which is no token id")
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 100:
            raise fields.refuse("logit_bias", f"of token {token[:20]} must be between -100 and 100")
    return bias


def _structured_outputs(fields: Fields) -> dict[str, Any]:
    """vLLM's own ways to constrain the output; `response_format` is the standard one."""
    if fields.exhausted:
        return {}
    inner = fields.inner("structured_outputs")
    given = {} if inner is None else _constraints(inner, "")
    if inner is not None:
        given |= _constraint_options(inner)
        inner.finish()
    legacy = _constraints(fields, "guided_")
    if given and legacy:
        name = f"guided_{next(iter(legacy))}"
        raise fields.refuse(name, "cannot be combined with 'structured_outputs'")
    return {"structured_outputs": given or legacy or None}


def _constraints(fields: Fields, prefix: str) -> dict[str, Any]:
    """What the output must match: at most one of them."""
    found: dict[str, Any] = {
        "json": _schema(fields, f"{prefix}json"),
        "regex": fields.text(f"{prefix}regex"),
        "choice": fields.texts(f"{prefix}choice", 10_000),
        "grammar": fields.text(f"{prefix}grammar"),
    }
    if not prefix:
        found |= {
            "json_object": fields.boolean("json_object"),
            "structural_tag": fields.text("structural_tag"),
        }
    given = {name: value for name, value in found.items() if value is not None}
    if len(given) > 1:
        first, second, *_ = given
        raise fields.refuse(f"{prefix}{second}", f"cannot be combined with '{prefix}{first}'")
    return given


def _schema(fields: Fields, name: str) -> dict[str, Any] | None:
    """A JSON schema, or the text of one."""
    schema: Any = fields.one_of_types(name, (dict, str), "a JSON schema")
    if isinstance(schema, str):
        try:
            schema = orjson.loads(schema)
        except orjson.JSONDecodeError as error:
            raise fields.refuse(name, f"is not valid JSON: {error}") from None
    if schema is not None and not isinstance(schema, dict):
        raise fields.refuse(name, "must be a JSON object")
    return schema


def _constraint_options(fields: Fields) -> dict[str, Any]:
    found = {
        "disable_any_whitespace": fields.boolean("disable_any_whitespace"),
        "disable_additional_properties": fields.boolean("disable_additional_properties"),
        "whitespace_pattern": fields.text("whitespace_pattern"),
    }
    return {name: value for name, value in found.items() if value is not None}


def read_response_format(fields: Fields, sampling: dict[str, Any]) -> tuple[SchemaUse, ...]:
    """Takes `response_format`, puts what it asks for into `sampling`; returns its schema.

    Strict or not, a schema is enforced: there is no reason to write what the caller cannot use.
    """
    wanted = fields.inner("response_format")
    if wanted is None:
        return engine_schema(fields, sampling)
    kind = wanted.choice("type", ("text", "json_object", "json_schema"))
    if kind is None:
        raise wanted.refuse("type", "is required", code="missing_required_parameter")
    schema = _named_schema(wanted) if kind == "json_schema" else None
    wanted.finish()
    if kind == "text":
        return engine_schema(fields, sampling)
    if sampling.get("structured_outputs"):
        raise fields.refuse("response_format", "cannot be combined with 'structured_outputs'")
    if schema is None:
        sampling["structured_outputs"] = {"json_object": True}
        return (SchemaUse("response_format", ANY_OBJECT),)
    sampling["structured_outputs"] = {"json": schema}
    return (SchemaUse("response_format.json_schema.schema", schema),)


def engine_schema(fields: Fields, sampling: dict[str, Any]) -> tuple[SchemaUse, ...]:
    """The schema that came under vLLM's own names."""
    schema = (sampling.get("structured_outputs") or {}).get("json")
    if schema is None:
        return ()
    path = "guided_json" if fields.given("guided_json") else "structured_outputs.json"
    return (SchemaUse(path, schema),)


def structure_at(body: Any) -> str | None:
    """The field that says what the answer must match, unless it is `structured_outputs`."""
    if isinstance(wanted := body.get("response_format"), dict):
        is_schema = wanted.get("type") == "json_schema"
        return "response_format.json_schema.schema" if is_schema else "response_format"
    return next((f"guided_{name}" for name in _GUIDED if body.get(f"guided_{name}")), None)


def structure_names(body: Any) -> dict[str, str]:
    """What the caller calls the structure that errors call `structured_outputs`."""
    place = structure_at(body)
    return {} if place is None else dict.fromkeys(_STRUCTURES, place)


def _named_schema(wanted: Fields) -> dict[str, Any]:
    named = wanted.inner("json_schema")
    if named is None:
        raise wanted.refuse("json_schema", "is required with type 'json_schema'")
    named.text("name"), named.text("description"), named.boolean("strict")
    schema = named.mapping("schema")
    named.finish()
    return schema or {"type": "object"}


def read_identity(fields: Fields) -> str | None:
    """Fields that say who asks and why; they change no answer. Returns the user."""
    if fields.exhausted:
        return None
    user = fields.text("user")
    for name in ("safety_identifier", "prompt_cache_key"):
        fields.text(name)
    fields.mapping("metadata")
    fields.only("service_tier", ("auto", "default"), "there is one tier")
    fields.only("store", (False,), "completions are not stored")
    return user


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What a stream tells of its usage: nothing, at its end, or so far with every chunk, too."""

    usage: bool = False
    continuous_usage: bool = False


def read_stream_options(fields: Fields, stream: bool) -> StreamOptions:
    """Takes `stream_options`."""
    options = fields.inner("stream_options")
    if options is None:
        return StreamOptions()
    if not stream:
        raise fields.refuse("stream_options", "is only allowed with 'stream': true")
    usage = options.boolean("include_usage") or False
    continuous = options.boolean("continuous_usage_stats") or False
    options.only("include_obfuscation", (False,), "streams are not padded")
    options.finish()
    return StreamOptions(usage, usage and continuous)
