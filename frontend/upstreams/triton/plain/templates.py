"""Chat templates for models that come without one: rendered here, in Jinja's sandbox.

A template is one of the formats below, or a file that the operator installed; callers never send
one. Servers put the token for the beginning of a text in front themselves, so `bos_token` is empty.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from frontend.domain.generation import Conversation
from frontend.domain.messages import Message, Text
from frontend.errors import InvalidRequest

_MOST = 16 * 2**20
"""Characters of a rendered prompt: a template may repeat what it gets."""
_RESERVED = frozenset({"messages", "tools", "bos_token", "eos_token", "raise_exception"})
_TOOLS = re.compile(r"\btools\b")
FORMATS = {
    "chatml": (
        "{% if tools %}<|im_start|>system\n"
        "{% if messages[0].role == 'system' %}{{ messages[0].content }}\n\n{% endif %}"
        "# Tools\n\nThese functions can be called, one JSON object a line:\n<tools>\n"
        "{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}</tools>\n\n"
        "Write a call as JSON with the function's name and its arguments:\n<tool_call>\n"
        '{"name": "NAME", "arguments": {}}\n</tool_call><|im_end|>\n{% endif %}'
        "{% for m in messages %}{% if m.role == 'tool' %}<|im_start|>user\n<tool_response>\n"
        "{{ m.content }}\n</tool_response><|im_end|>\n"
        "{% elif not (tools and loop.first and m.role == 'system') %}<|im_start|>{{ m.role }}\n"
        "{{ m.content }}{% for call in m.tool_calls or [] %}\n<tool_call>\n"
        "{{ call.function | tojson }}\n</tool_call>{% endfor %}<|im_end|>\n{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "llama-3": (
        "{% if tools %}<|start_header_id|>system<|end_header_id|>\n\n"
        "{% if messages[0].role == 'system' %}{{ messages[0].content | trim }}\n\n{% endif %}"
        "You can call these functions:\n\n"
        "{% for tool in tools %}{{ tool | tojson(indent=4) }}\n\n{% endfor %}"
        'To call one, answer only with {"name": NAME, "parameters": ARGUMENTS}.<|eot_id|>'
        "{% endif %}{% for m in messages %}{% if not (tools and loop.first and "
        "m.role == 'system') %}<|start_header_id|>"
        "{{ 'ipython' if m.role == 'tool' else m.role }}<|end_header_id|>\n\n"
        "{{ m.content | trim }}{% for call in m.tool_calls or [] %}"
        '{"name": {{ call.function.name | tojson }}, "parameters": '
        "{{ call.function.arguments | tojson }}}{% endfor %}<|eot_id|>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>"
        "assistant<|end_header_id|>\n\n{% endif %}"
    ),
    "mistral": (
        "{% set first = namespace(text='') %}{% for m in messages %}"
        "{% if m.role == 'system' %}{% set first.text = m.content + '\n\n' %}"
        "{% elif m.role == 'user' %}[INST] {{ first.text }}{{ m.content }} [/INST]"
        "{% set first.text = '' %}{% else %} {{ m.content | trim }}</s>{% endif %}{% endfor %}"
    ),
    "gemma": (
        "{% set first = namespace(text='') %}{% for m in messages %}"
        "{% if m.role == 'system' %}{% set first.text = m.content + '\n\n' %}{% else %}"
        "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
        "{{ first.text }}{{ m.content | trim }}<end_of_turn>\n{% set first.text = '' %}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
    ),
}
"""Templates by the names that `chat_template` may have, besides files."""


def has_tools(source: str) -> bool:
    """Whether a template shows the model its tools."""
    return _TOOLS.search(source) is not None


class ChatTemplate:
    """One template. Raises ValueError for a text that is not one."""

    def __init__(self, source: str) -> None:
        self.takes_tools = has_tools(source)
        # as in transformers, for which templates are written
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            extensions=[loopcontrols],
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise ValueError(f"it is not a chat template: {error}") from None

    def render(self, prompt: Conversation, tools: list[dict[str, Any]] | None = None) -> str:
        """The prompt of a conversation. Raises InvalidRequest for what the template refuses."""
        options = prompt.template_options or {}
        if reserved := _RESERVED & options.keys():
            name = sorted(reserved)[0]
            text = f"'chat_template_kwargs.{name}' cannot be set"
            raise InvalidRequest(text, param="chat_template_kwargs")
        values: dict[str, Any] = {
            "messages": [_message(one) for one in prompt.messages],
            "tools": tools,
            "bos_token": "",
            "eos_token": "",
            "add_generation_prompt": prompt.opened is not False,
            **options,
        }
        if prompt.effort is not None:
            values["reasoning_effort"] = prompt.effort
        pieces, size = [], 0
        try:
            for piece in self._template.generate(**values):
                pieces.append(piece)
                if (size := size + len(piece)) > _MOST:
                    raise InvalidRequest("the prompt is too long", param="messages")
        # a template is a program: it may add texts to numbers, or divide by zero
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            text = f"the model's chat template does not take these messages: {error}"
            raise InvalidRequest(text[:500], param="messages") from None
        return "".join(pieces)


def _message(message: Message) -> dict[str, Any]:
    content: Any = message.content
    if not isinstance(content, str):
        content = [
            {"type": "text", "text": part.text} if isinstance(part, Text) else {"type": "image"}
            for part in content
        ]
    written: dict[str, Any] = {"role": message.role, "content": content}
    if message.calls:
        functions = [
            {"name": one.name, "arguments": _object(one.arguments)} for one in message.calls
        ]
        written["tool_calls"] = [{"type": "function", "function": one} for one in functions]
    given = {
        "name": message.name,
        "tool_call_id": message.answers,
        "reasoning_content": message.reasoning,
    }
    return written | {name: value for name, value in given.items() if value is not None}


def _object(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _tojson(value: Any, indent: int | None = None, **options: Any) -> str:
    """Without HTML's escapes, which Jinja's own filter makes."""
    kept: Mapping[str, Any] = {k: v for k, v in options.items() if k in ("separators", "sort_keys")}
    return json.dumps(value, ensure_ascii=False, indent=indent, **kept)


def _raise(message: str) -> str:
    raise TemplateError(message)
