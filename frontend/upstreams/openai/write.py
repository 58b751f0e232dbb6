"""The bodies of OpenAI's API, written from a canonical request. Pure.

Servers that are not OpenAI's take the fields that only engines know; for OpenAI itself they are
refused, because a field that is set must have an effect.
"""

import base64
from collections.abc import Iterator
from typing import Any

from frontend.domain.generation import Conversation, Generation, Passage
from frontend.domain.messages import Message, Text
from frontend.domain.structure import Structure
from frontend.domain.tools import Function, Named, Tools
from frontend.upstreams.remote import unsupported

_SHARED = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "n", "seed", "stop")
_ENGINES = ("top_k", "min_p", "repetition_penalty", "min_tokens", "prompt_logprobs")
_STRICT = frozenset({"openai"})
"""Engines that refuse fields that they do not know."""
_SIGNATURES = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"))


def is_strict(engine: str) -> bool:
    """Whether the server only knows OpenAI's own fields."""
    return engine in _STRICT


def is_chat(generation: Generation) -> bool:
    """Whether it goes to `/v1/chat/completions`."""
    return isinstance(generation.prompt, Conversation)


def write_body(model: str, generation: Generation, engine: str) -> dict[str, Any]:
    """The body of a streamed request. Raises InvalidRequest for what the server cannot honour."""
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        **write_prompt(generation),
        **_sampling(generation, engine),
    }
    if generation.tools is not None and generation.tools.allowed:
        body |= _tools(generation.tools)
    if generation.structure is not None:
        body |= _structure(generation.structure, engine)
    extras = dict(_extras(generation, engine))
    if is_strict(engine):
        for name in extras:
            unsupported(name, engine)
    return body | extras


def write_prompt(generation: Generation) -> dict[str, Any]:
    """Only the fields of the prompt."""
    prompt = generation.prompt
    if isinstance(prompt, Conversation):
        images = iter(generation.images)
        return {"messages": [_message(one, images) for one in prompt.messages]}
    if isinstance(prompt, Passage):
        return {"prompt": prompt.text} | _set(suffix=prompt.suffix)
    return {"prompt": [*prompt.ids]}


def _message(message: Message, images: Iterator[bytes]) -> dict[str, Any]:
    content: Any = message.content
    if not isinstance(content, str):
        content = [
            {"type": "text", "text": part.text} if isinstance(part, Text) else _image(next(images))
            for part in content
        ]
    calls = [
        {
            "id": call.id or f"call_{number}",
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for number, call in enumerate(message.calls)
    ]
    written = {"role": message.role, "content": None if calls and not content else content}
    return written | _set(tool_calls=calls or None, name=message.name, tool_call_id=message.answers)


def _image(file: bytes) -> dict[str, Any]:
    kind = next((name for start, name in _SIGNATURES if file.startswith(start)), "png")
    url = f"data:image/{kind};base64,{base64.b64encode(file).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _sampling(generation: Generation, engine: str) -> dict[str, Any]:
    sampling = generation.sampling
    written = {name: value for name in _SHARED if (value := getattr(sampling, name)) is not None}
    if sampling.max_tokens is not None:
        newer = is_strict(engine) and is_chat(generation)
        written["max_completion_tokens" if newer else "max_tokens"] = sampling.max_tokens
    if sampling.logit_bias is not None:
        written["logit_bias"] = dict(sampling.logit_bias)
    if sampling.logprobs is not None and is_chat(generation):
        written |= {"logprobs": True, "top_logprobs": sampling.logprobs}
    elif sampling.logprobs is not None:
        written["logprobs"] = sampling.logprobs
    if isinstance(generation.prompt, Conversation) and generation.prompt.effort is not None:
        written["reasoning_effort"] = generation.prompt.effort
    return written


def _extras(generation: Generation, engine: str) -> Iterator[tuple[str, Any]]:
    """Fields that only engines know."""
    sampling, prompt = generation.sampling, generation.prompt
    for name in _ENGINES:
        if (value := getattr(sampling, name)) is not None:
            yield name, value
    yield from sampling.extras.items()
    if generation.cache_salt is not None and engine == "vllm":
        yield "cache_salt", generation.cache_salt
    if sampling.thinking_budget is not None:
        yield "thinking_token_budget", sampling.thinking_budget
    if isinstance(prompt, Conversation):
        if prompt.template_options:
            yield "chat_template_kwargs", dict(prompt.template_options)
        if prompt.opened is not None:
            yield "add_generation_prompt", prompt.opened
        if prompt.continued is not None:
            yield "continue_final_message", prompt.continued
        if prompt.special_tokens is not None:
            yield "add_special_tokens", prompt.special_tokens


def _tools(tools: Tools) -> dict[str, Any]:
    choice: Any = tools.choice
    if isinstance(choice, Named):
        choice = {"type": "function", "function": {"name": choice.name}}
    return {"tools": [_function(one) for one in tools.allowed], "tool_choice": choice} | _set(
        parallel_tool_calls=tools.parallel
    )


def _function(function: Function) -> dict[str, Any]:
    written = _set(name=function.name, description=function.description, strict=function.strict)
    return {"type": "function", "function": written | {"parameters": function.parameters}}


def _structure(structure: Structure, engine: str) -> dict[str, Any]:
    if structure.kind == "json_object":
        return {"response_format": {"type": "json_object"}}
    if structure.kind == "json":
        schema = {"name": "answer", "schema": structure.value, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    if structure.kind is None:
        return {}
    if engine != "vllm":
        unsupported(structure.path, engine)
    return {"structured_outputs": {structure.kind: structure.value, **structure.options}}


def _set(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
