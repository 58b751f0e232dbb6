"""What requests may hold, field by field, as JSON schemas (OpenAPI 3.0).

The names are exactly those that the parsers know; a test compares them. A field that is known but
refused has no place here beside `REFUSED`.
"""

from typing import Any

Schema = dict[str, Any]
Table = dict[str, Schema]


def _text(about: str = "", **more: Any) -> Schema:
    return _typed("string", about, more)


def _number(low: float, high: float, about: str = "") -> Schema:
    return _typed("number", about, {"minimum": low, "maximum": high})


def _integer(low: int | None = None, high: int | None = None, about: str = "") -> Schema:
    bounds = {"minimum": low, "maximum": high}
    return _typed("integer", about, {k: v for k, v in bounds.items() if v is not None})


def _flag(about: str = "") -> Schema:
    return _typed("boolean", about, {})


def _object(about: str = "") -> Schema:
    return _typed("object", about, {})


def _list(items: Schema, about: str = "", **more: Any) -> Schema:
    return _typed("array", about, {"items": items, **more})


def _choice(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def _any(*schemas: Schema, about: str = "") -> Schema:
    return {"anyOf": list(schemas), "description": about} if about else {"anyOf": list(schemas)}


def _typed(kind: str, about: str, more: dict[str, Any]) -> Schema:
    return {"type": kind, **more, **({"description": about} if about else {})}


def _texts(about: str = "") -> Schema:
    return _any(_text(), _list(_text()), about=about)


MODEL = _text("A name from /v1/models.")
_STREAM = _flag("Server-sent events instead of one answer.")
_SCHEMA = _object("A JSON schema.")
_IDS = _list(_integer(0, 2**31 - 1))

IDENTITY: Table = {
    "user": _text(),
    "safety_identifier": _text(),
    "prompt_cache_key": _text(),
    "metadata": _object(),
    "service_tier": _choice("auto", "default"),
}
SAMPLING: Table = {
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "n": _integer(1, 128),
    "seed": _integer(-(2**63), 2**63 - 1),
    "stop": _texts("Where to stop; at most 64."),
    "logit_bias": _object("Token id to bias, -100 to 100."),
    "top_k": _integer(-1, 2**31 - 1),
    "min_p": _number(0, 1),
    "repetition_penalty": _number(0.01, 10),
    "min_tokens": _integer(0, 2**31 - 1),
    "ignore_eos": _flag(),
    "stop_token_ids": _IDS,
    "bad_words": _texts(),
    "skip_special_tokens": _flag(),
    "spaces_between_special_tokens": _flag(),
    "include_stop_str_in_output": _flag(),
    "thinking_token_budget": _integer(0, 2**31 - 1),
    "priority": _integer(-(2**31), 2**31 - 1),
    "structured_outputs": _object("vLLM's: json, regex, choice, grammar or json_object."),
    "guided_json": _any(_object(), _text()),
    "guided_regex": _text(),
    "guided_choice": _texts(),
    "guided_grammar": _text(),
}
_TOOLS: Table = {
    "tools": _list(_object(), "What the model may call.", maxItems=128),
    "tool_choice": _any(_text(), _object()),
    "parallel_tool_calls": _flag(),
}
_TEXT: Table = {
    "stream": _STREAM,
    "stream_options": _object("include_usage, continuous_usage_stats"),
    "response_format": _object("text, json_object or json_schema."),
    "store": _flag("Only false: completions are not stored."),
}
CHAT: Table = {
    "model": MODEL,
    "messages": _list(_object(), minItems=1),
    "max_completion_tokens": _integer(1),
    "max_tokens": _integer(1),
    "logprobs": _flag(),
    "top_logprobs": _integer(0, 20),
    "chat_template_kwargs": _object(),
    "reasoning_effort": _choice("none", "minimal", "low", "medium", "high", "xhigh"),
    "add_generation_prompt": _flag(),
    "continue_final_message": _flag(),
    "include_reasoning": _flag(),
    "return_token_ids": _flag("Token ids beside the text."),
    "verbosity": _choice("low", "medium", "high"),
    **_TOOLS,
    **_TEXT,
    **SAMPLING,
    **IDENTITY,
}
COMPLETION: Table = {
    "model": MODEL,
    "prompt": _any(_text(), _list(_text()), _IDS, _list(_IDS)),
    "max_tokens": _integer(0),
    "suffix": _text("What comes after: the model fills in the middle."),
    "echo": _flag(),
    "best_of": _integer(1, 128),
    "logprobs": _integer(0, 20),
    "add_special_tokens": _flag(),
    "return_token_ids": _flag("Token ids beside the text."),
    **_TEXT,
    **SAMPLING,
    **IDENTITY,
}
EMBEDDING: Table = {
    "model": MODEL,
    "input": _any(_text(), _list(_text()), _IDS, _list(_IDS)),
    "encoding_format": _choice("float", "base64"),
    "dimensions": _integer(1),
    "truncate_prompt_tokens": _integer(-1, -1, "-1: cut what is too long."),
    "store": _flag(),
    **IDENTITY,
}
IMAGE: Table = {
    "model": MODEL,
    "prompt": _text(minLength=1),
    "negative_prompt": _text(),
    "n": _integer(1, 128),
    "size": _text("WIDTHxHEIGHT or auto."),
    "quality": _choice("auto", "low", "medium", "high", "standard", "hd"),
    "response_format": _choice("b64_json", "url"),
    "output_format": _choice("png", "jpeg", "webp"),
    "output_compression": _integer(0, 100),
    "background": _choice("auto", "opaque"),
    "moderation": _choice("auto", "low"),
    "stream": _STREAM,
    "partial_images": _integer(0, 3),
    "steps": _integer(1, 10_000),
    "guidance": _number(0, 100),
    "seed": _integer(0, 2**63 - 129),
    "store": _flag(),
    **IDENTITY,
}
RESPONSE: Table = {
    "model": MODEL,
    "input": _any(_text(), _list(_object())),
    "instructions": _text(),
    "max_output_tokens": _integer(1),
    "top_logprobs": _integer(0, 20),
    "include": _list(_text()),
    "previous_response_id": _text(),
    "store": _flag("Keep it for previous_response_id; default true."),
    "stream": _STREAM,
    "stream_options": _object(),
    "text": _object("format: text, json_object or json_schema."),
    "reasoning": _object("effort"),
    "chat_template_kwargs": _object(),
    "truncation": _choice("disabled"),
    "background": _flag("Only false."),
    "prompt_cache_retention": _choice("in_memory"),
    **_TOOLS,
    **SAMPLING,
    **IDENTITY,
}
_RANK: Table = {
    "model": MODEL,
    "truncate_prompt_tokens": _integer(-1, -1),
    "truncation": _choice("true", "false"),
    "max_tokens_per_doc": _integer(1),
    "store": _flag(),
    **IDENTITY,
}
RERANK: Table = {
    **_RANK,
    "query": _text(),
    "documents": _list(_any(_text(), _object()), minItems=1),
    "top_n": _integer(1),
    "return_documents": _flag(),
    "rank_fields": _list(_text()),
}
SCORE: Table = {
    **_RANK,
    **dict.fromkeys(("queries", "documents", "text_1", "text_2", "data_1", "data_2"), _texts()),
}
COUNT: Table = {
    "model": MODEL,
    "messages": _list(_object(), minItems=1),
    "system": _any(_text(), _list(_object())),
    "tools": _list(_object(), maxItems=128),
    "tool_choice": _object(),
    "thinking": _object(),
    "output_config": _object(),
    "context_management": _object("edits: taken, and none is made."),
    "metadata": _object(),
    "cache_control": _object(),
    "service_tier": _choice("auto", "standard_only"),
    "speed": _choice("standard"),
    "inference_geo": _choice("global", "not_available"),
    "stream": _flag(),
}
MESSAGE: Table = {
    **COUNT,
    "max_tokens": _integer(1),
    "temperature": _number(0, 1),
    "top_p": _number(0, 1),
    "top_k": _integer(0, 2**31 - 1),
    "stop_sequences": _list(_text()),
    "stream": _STREAM,
}
_OLLAMA: Table = {
    "model": MODEL,
    "stream": _flag("Lines of JSON as they come; default true."),
    "format": _any(_choice("json"), _SCHEMA),
    "keep_alive": _any(_text(), _number(-1, 10**9)),
    "options": _object(),
    "think": _any(_flag(), _choice("low", "medium", "high", "max")),
    "logprobs": _flag(),
    "top_logprobs": _integer(0, 20),
    "truncate": _flag(),
    "shift": _flag(),
}
OLLAMA_CHAT: Table = {**_OLLAMA, "messages": _list(_object()), **_TOOLS}
OLLAMA_GENERATE: Table = {
    **_OLLAMA,
    **dict.fromkeys(("prompt", "suffix", "system", "template"), _text()),
    "images": _list(_text()),
    "raw": _flag(),
    "context": _IDS,
    **dict.fromkeys(("width", "height", "steps"), _integer(1)),
}
_EMBED: Table = {
    "model": MODEL,
    "dimensions": _integer(1),
    "options": _object(),
    "truncate": _flag(),
}
OLLAMA_EMBED: Table = {**_EMBED, "input": _texts()}
OLLAMA_EMBEDDINGS: Table = {**_EMBED, "prompt": _text()}
OLLAMA_SHOW: Table = {"model": MODEL}

REFUSED = frozenset(
    {
        *("functions", "function_call", "audio", "prediction", "web_search_options", "moderation"),
        *("modalities", "prompt_cache_retention", "style", "max_tool_calls"),
        *("conversation", "prompt", "context_management", "container", "mcp_servers", "store"),
    }
)
"""Fields that are known in order to be refused, or taken with a value that changes nothing."""
