"""The JSON of the tensor contract (python_backends/README.md), written from a canonical request.

The only module that knows these names. Fields that are not set are left out.
"""

from collections.abc import Iterable
from typing import Any

from frontend.domain.generation import Conversation, Generation, Passage, Reply
from frontend.domain.messages import Message, Text, ToolCall
from frontend.domain.sampling import Sampling
from frontend.domain.structure import Structure
from frontend.domain.tools import Choice, Function, Named

_SAMPLING = (
    *("max_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "n", "seed"),
    *("stop", "logit_bias", "top_k", "min_p", "repetition_penalty", "min_tokens"),
)
"""Fields of `Sampling` that the contract calls the same."""
CANONICAL_NAMES = {
    "structured_outputs": "structure",
    "chat_template_kwargs": "template_options",
    "thinking_token_budget": "thinking_budget",
}
"""What the canonical request calls the fields that the contract names differently."""


def write_prompt(generation: Generation) -> dict[str, Any]:
    """The tensor `prompt`: one of `messages`, `text` and `token_ids`, with its options."""
    prompt = generation.prompt
    if isinstance(prompt, Conversation):
        written = _conversation(prompt)
        if generation.tools is not None:
            written["tools"] = _functions(generation.tools.declared)
    elif isinstance(prompt, Passage):
        written = {"text": prompt.text}
        if prompt.suffix is not None:
            written["suffix"] = prompt.suffix
        if prompt.special_tokens is not None:
            written["add_special_tokens"] = prompt.special_tokens
    else:
        return {"token_ids": prompt.ids}
    if (cut := generation.truncation) is not None:
        written["truncate"] = {"reply": cut.reply, "keep": cut.keep}
    if generation.context_length is not None:
        written["context_length"] = generation.context_length
    return written


def write_sampling(generation: Generation) -> dict[str, Any]:
    """The tensor `sampling_parameters`: vLLM's SamplingParams by name."""
    sampling = generation.sampling
    written = {name: value for name in _SAMPLING if (value := getattr(sampling, name)) is not None}
    written |= sampling.extras
    if sampling.thinking_budget is not None:
        written["thinking_token_budget"] = sampling.thinking_budget
    if generation.structure is not None:
        written["structured_outputs"] = _structure(generation.structure)
    for name, count in _logprobs(sampling):
        written[name] = count
    return written


def write_reply(generation: Generation) -> dict[str, Any] | None:
    """The tensor `reply`; None where the text stays as the model writes it."""
    reply, written = generation.reply, dict[str, Any]()
    if reply is None:
        if generation.context_length is None and generation.cache_salt is None:
            return None
        # the engine must know the bound or the salt, and this tensor is what carries them
        reply = Reply(raw=True)
    if isinstance(generation.prompt, Passage) and generation.prompt.suffix is not None:
        written["infill"] = True
    elif reply.raw:
        written["raw"] = True
    if (tools := generation.tools) is not None:
        written["tools"] = _functions(tools.allowed)
        written["tool_choice"] = _choice(tools.choice)
        written |= _set(parallel_tool_calls=tools.parallel)
    return written | _set(
        chat_template_kwargs=reply.template_options,
        include_reasoning=reply.reasoning,
        prompt_token_ids=reply.prompt_token_ids or None,
        context_length=generation.context_length,
        cache_salt=generation.cache_salt,
    )


def _conversation(prompt: Conversation) -> dict[str, Any]:
    return _set(
        messages=[_message(one) for one in prompt.messages],
        chat_template_kwargs=prompt.template_options,
        reasoning_effort=prompt.effort,
        add_generation_prompt=prompt.opened,
        continue_final_message=prompt.continued,
        prefix_token_ids=prompt.prefix or None,
        add_special_tokens=prompt.special_tokens,
    )


def _message(message: Message) -> dict[str, Any]:
    content = message.content
    return _set(
        role=message.role,
        content=content if isinstance(content, str) else [_part(part) for part in content],
        tool_calls=[_call(call) for call in message.calls] or None,
        name=message.name,
        tool_call_id=message.answers,
        reasoning_content=message.reasoning,
    )


def _part(part: object) -> dict[str, str]:
    return {"type": "text", "text": part.text} if isinstance(part, Text) else {"type": "image"}


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    if call.id is None:
        return {"type": "function", "function": function}
    return {"type": "function", "id": call.id, "function": function}


def _functions(functions: Iterable[Function]) -> list[dict[str, Any]]:
    return [{"type": "function", "function": _function(one)} for one in functions]


def _function(function: Function) -> dict[str, Any]:
    described = _set(name=function.name, description=function.description)
    return described | {"parameters": function.parameters} | _set(strict=function.strict)


def _choice(choice: Choice) -> str | dict[str, str]:
    return {"name": choice.name} if isinstance(choice, Named) else choice


def _structure(structure: Structure) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if structure.kind is not None:
        written[structure.kind] = structure.value
    return written | dict(structure.options)


def _set(**fields: Any) -> dict[str, Any]:
    """The fields that have a value, in order."""
    return {name: value for name, value in fields.items() if value is not None}


def _logprobs(sampling: Sampling) -> Iterable[tuple[str, int]]:
    if sampling.logprobs is not None:
        yield "logprobs", sampling.logprobs
    if sampling.prompt_logprobs is not None:
        yield "prompt_logprobs", sampling.prompt_logprobs
