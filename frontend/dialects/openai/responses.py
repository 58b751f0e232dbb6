"""`POST /v1/responses`: request → canonical generation. Pure.

The conversation that a response continues is read from the store; until then a call is not
`resolved`. Tools that OpenAI runs itself, files, stored prompts and conversations are refused.
"""

from dataclasses import dataclass, replace
from typing import Any

from frontend.dialects.declare import (
    Object,
)
from frontend.dialects.openai.identity import check_model
from frontend.dialects.openai.items import Item, messages_of
from frontend.dialects.openai.response_body import (
    ResponseBody,
    ResponseObjectFormat,
    ResponseTextFormat,
)
from frontend.dialects.openai.response_tools import make_tools
from frontend.dialects.openai.sampling import make_sampling
from frontend.dialects.openai.structure import make_structure, schemas_of
from frontend.dialects.read import listed, read
from frontend.dialects.refusal import check_count, refuse
from frontend.domain.generation import Conversation, Generation, ImageLink, Reply
from frontend.domain.messages import Message
from frontend.domain.structure import Structure
from frontend.errors import InvalidRequest

NAMES = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "structure": "text.format",
    "structure.json": "text.format.schema",
    "structure.json_object": "text.format",
    "template_options": "chat_template_kwargs",
    "thinking_budget": "thinking_token_budget",
}
"""The API's names of fields, by their canonical names."""
_INCLUDES = ("message.output_text.logprobs", "reasoning.encrypted_content")


@dataclass(frozen=True, slots=True)
class ResponseCall:
    """A parsed request. `repeated` are the request's fields that the response contains."""

    model: str
    items: list[Item]
    instructions: str | None
    generation: Generation
    stream: bool
    store: bool
    previous: str | None
    logprobs: bool
    repeated: dict[str, Any]
    images: tuple[ImageLink, ...] = ()

    def resolved(self, history: list[Item]) -> "ResponseCall":
        """The call with the earlier conversation. Raises InvalidRequest naming an item."""
        images: list[ImageLink] = []
        items = [*history, *self.items]
        messages = messages_of(items, images, len(history))
        # only of this request: the API does not carry instructions over to the next one
        if self.instructions:
            messages = (Message("system", self.instructions), *messages)
        if not messages:
            raise InvalidRequest("'input' must not be empty", param="input")
        prompt = self.generation.prompt
        assert isinstance(prompt, Conversation)
        prompt = replace(prompt, messages=messages)
        generation = replace(self.generation, prompt=prompt, param="input")
        return replace(self, items=items, generation=generation, images=tuple(images))


def parse_response(body: object, max_items: int) -> ResponseCall:
    """Raises InvalidRequest naming the field for anything that cannot be honoured."""
    given = read(ResponseBody, body)
    check_model(given)
    if given.metadata is not None:
        _check_metadata(given.metadata)
    limit = given.max_output_tokens
    sampling = make_sampling(given, n=None, max_tokens=limit, logprobs=_logprobs(given))
    tools, schemas = make_tools(given.tools, given.tool_choice, given.parallel_tool_calls)
    structure = _structure(given)
    prompt, reply = _reasoning(given)
    generation = Generation(
        prompt,
        sampling,
        reply,
        tools,
        structure,
        schemas=(*schemas, *schemas_of(structure)),
        cache_salt=given.cache_salt,
        session=given.prompt_cache_key,
    )
    return ResponseCall(
        given.model,
        _items(given.input, max_items),
        given.instructions,
        generation,
        bool(given.stream),
        given.store is not False,
        given.previous_response_id,
        sampling.logprobs is not None,
        _repeat(body),
    )


def _items(given: str | list[Any] | None, most: int) -> list[Item]:
    """The items, which `messages_of` reads."""
    if not given and not isinstance(given, str):
        return []
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    check_count("input", given, most)
    return given


_REPEATED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "user": None,
}


def _repeat(body: Any) -> dict[str, Any]:
    """The part of a response that repeats its request: given fields, and defaults for the rest."""
    return {
        name: default if body.get(name) is None else body[name]
        for name, default in _REPEATED.items()
    }


def _logprobs(body: ResponseBody) -> int | None:
    include = listed(body.include)
    for one in include:
        if one not in _INCLUDES:
            known = ", ".join(map(repr, _INCLUDES))
            raise refuse("include", f"contains {one[:60]!r}; supported: {known}")
    return body.top_logprobs or 0 if _INCLUDES[0] in include or body.top_logprobs else None


def _structure(body: ResponseBody) -> Structure | None:
    """The structure of the answer, from either field. Raises InvalidRequest if both are given."""
    engine = make_structure(body)
    format_ = None if body.text is None else body.text.format
    if format_ is None or isinstance(format_, ResponseTextFormat):
        return engine
    if engine is not None:
        raise refuse(
            "text.format", "cannot be combined with 'structured_outputs'; send one of them"
        )
    if isinstance(format_, ResponseObjectFormat):
        return Structure("json_object", True, "text.format")
    return Structure("json", format_.schema, "text.format.schema")


def _reasoning(body: ResponseBody) -> tuple[Conversation, Reply]:
    """The options of the chat template, and those for reading the reply that follow from them."""
    options = body.chat_template_kwargs or {}
    verbosity = None if body.text is None else body.text.verbosity
    if verbosity not in (None, "medium"):  # for templates that know it
        options = {"verbosity": verbosity, **options}
    effort = None if body.reasoning is None else body.reasoning.effort
    if effort is not None:
        options = {"enable_thinking": effort != "none", **options}
    passed = "xhigh" if effort == "max" else effort
    return Conversation((), options or None, passed), Reply(template_options=options or None)


def _check_metadata(given: Object) -> None:
    if len(given) > 16 or not all(isinstance(value, str) for value in given.values()):
        raise refuse("metadata", "must have at most 16 strings as values")
