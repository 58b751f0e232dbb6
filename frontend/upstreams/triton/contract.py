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
        if generation.context_length is None:
            return None
        reply = Reply(raw=True)
    if isinstance(generation.prompt, Passage) and generation.prompt.suffix is not None:
        written["infill"] = True
    elif reply.raw:
        written["raw"] = True
    if (tools := generation.tools) is not None:
        written["tools"] = _functions(tools.allowed)
        written["tool_choice"] = _choice(tools.choice)
        if tools.parallel is not None:
            written["parallel_tool_calls"] = tools.parallel
    if reply.template_options is not None:
        written["chat_template_kwargs"] = reply.template_options
    if reply.reasoning is not None:
        written["include_reasoning"] = reply.reasoning
    if reply.prompt_token_ids:
        written["prompt_token_ids"] = True
    if generation.context_length is not None:
        written["context_length"] = generation.context_length
    return written


def _conversation(prompt: Conversation) -> dict[str, Any]:
    written: dict[str, Any] = {"messages": [_message(one) for one in prompt.messages]}
    if prompt.template_options is not None:
        written["chat_template_kwargs"] = prompt.template_options
    if prompt.effort is not None:
        written["reasoning_effort"] = prompt.effort
    if prompt.opened is not None:
        written["add_generation_prompt"] = prompt.opened
    if prompt.continued is not None:
        written["continue_final_message"] = prompt.continued
    if prompt.prefix:
        written["prefix_token_ids"] = prompt.prefix
    return written


def _message(message: Message) -> dict[str, Any]:
    content = message.content
    written: dict[str, Any] = {
        "role": message.role,
        "content": content if isinstance(content, str) else [_part(part) for part in content],
    }
    if message.calls:
        written["tool_calls"] = [_call(call) for call in message.calls]
    if message.name is not None:
        written["name"] = message.name
    if message.answers is not None:
        written["tool_call_id"] = message.answers
    if message.reasoning is not None:
        written["reasoning_content"] = message.reasoning
    return written


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
    written: dict[str, Any] = {"name": function.name}
    if function.description is not None:
        written["description"] = function.description
    written["parameters"] = function.parameters
    if function.strict is not None:
        written["strict"] = function.strict
    return written


def _choice(choice: Choice) -> str | dict[str, str]:
    return {"name": choice.name} if isinstance(choice, Named) else choice


def _structure(structure: Structure) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if structure.kind is not None:
        written[structure.kind] = structure.value
    return written | dict(structure.options)


def _logprobs(sampling: Sampling) -> Iterable[tuple[str, int]]:
    if sampling.logprobs is not None:
        yield "logprobs", sampling.logprobs
    if sampling.prompt_logprobs is not None:
        yield "prompt_logprobs", sampling.prompt_logprobs
