"""Makes the typed canonical request of what the parsers collect by name. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from frontend.domain.generation import Conversation, Generation, Passage, Prompt, Reply, TokenIds
from frontend.domain.messages import Image, Message, Text, ToolCall
from frontend.domain.sampling import Sampling
from frontend.domain.structure import SchemaUse, Structure
from frontend.domain.tools import Choice, Function, Named, Tools

_TYPED = frozenset(Sampling.__slots__) - {"extras", "thinking_budget"}
_KINDS = ("json", "json_object", "regex", "choice", "grammar", "structural_tag")


def make_generation(
    prompt: dict[str, Any],
    sampling: dict[str, Any],
    reply: dict[str, Any] | None,
    *,
    param: str = "messages",
    schemas: tuple[SchemaUse, ...] = (),
) -> Generation:
    """The canonical request."""
    path = next((use.path for use in schemas if use.tool is None), "structured_outputs")
    return Generation(
        make_prompt(prompt),
        make_sampling(sampling),
        None if reply is None else _reply(reply),
        _tools(prompt, reply or {}),
        make_structure(sampling, path),
        param=param,
        schemas=schemas,
    )


def make_messages(messages: Iterable[dict[str, Any]]) -> tuple[Message, ...]:
    """Chat messages."""
    return tuple(_message(one) for one in messages)


def _message(message: dict[str, Any]) -> Message:
    content = message["content"]
    return Message(
        message["role"],
        content if isinstance(content, str) else tuple(map(_part, content)),
        tuple(map(_call, message.get("tool_calls", ()))),
        message.get("name"),
        message.get("tool_call_id"),
        message.get("reasoning_content"),
    )


def _part(part: dict[str, str]) -> Text | Image:
    return Text(part["text"]) if part["type"] == "text" else Image()


def _call(call: dict[str, Any]) -> ToolCall:
    return ToolCall(call["function"]["name"], call["function"]["arguments"], call.get("id"))


def make_prompt(prompt: dict[str, Any]) -> Prompt:
    """The prompt in one of its forms."""
    if "text" in prompt:
        return Passage(prompt["text"], prompt.get("suffix"), prompt.get("add_special_tokens"))
    if "token_ids" in prompt:
        return TokenIds(prompt["token_ids"])
    return Conversation(
        make_messages(prompt.get("messages", ())),
        prompt.get("chat_template_kwargs"),
        prompt.get("reasoning_effort"),
        prompt.get("add_generation_prompt"),
        prompt.get("continue_final_message"),
        prompt.get("prefix_token_ids", ()),
    )


def make_sampling(sampling: Mapping[str, Any]) -> Sampling:
    """How tokens are chosen."""
    typed = {name: value for name, value in sampling.items() if name in _TYPED}
    left = ("structured_outputs", "thinking_token_budget")
    extras = {k: v for k, v in sampling.items() if k not in _TYPED and k not in left}
    return Sampling(**typed, thinking_budget=sampling.get("thinking_token_budget"), extras=extras)


def make_structure(sampling: Mapping[str, Any], path: str) -> Structure | None:
    """What the answer must match."""
    given = sampling.get("structured_outputs")
    if given is None:
        return None
    kind: Any = next((name for name in _KINDS if name in given), None)
    options = {name: value for name, value in given.items() if name != kind}
    return Structure(kind, given.get(kind), path, options)


def _reply(reply: dict[str, Any]) -> Reply:
    return Reply(
        reply.get("raw", False),
        reply.get("chat_template_kwargs"),
        reply.get("include_reasoning"),
        reply.get("prompt_token_ids", False),
    )


def _tools(prompt: dict[str, Any], reply: dict[str, Any]) -> Tools | None:
    if not prompt.get("tools"):
        return None
    given = reply["tool_choice"]
    choice: Choice = Named(given["name"]) if isinstance(given, dict) else given
    return Tools(
        tuple(map(_function, prompt["tools"])),
        tuple(map(_function, reply["tools"])),
        choice,
        reply.get("parallel_tool_calls"),
    )


def _function(tool: dict[str, Any]) -> Function:
    function = tool["function"]
    return Function(
        function["name"],
        function["parameters"],
        function.get("description"),
        function.get("strict"),
    )
