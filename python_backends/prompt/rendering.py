"""Turns a `prompt` object into token ids with a model's chat template and tokenizer.

Templates run in transformers' sandbox. Every field is used or refused.
"""

import contextlib
import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from python_backends.errors import ContextOverflow, InvalidInput
from python_backends.prompt.decoding import Texts, strings
from python_backends.prompt.infill import Infill, find_infill, refuse
from python_backends.prompt.messages import flatten, form_of, messages_of, texts_of
from python_backends.prompt.metered import DEFAULT_LIMITS, Limits, metered
from python_backends.prompt.tools import as_text, with_objects
from python_backends.prompt.truncation import Truncation, has_images, last_turns, shorten, within
from python_backends.splitting import PIECE, check_bytes, encode_up_to
from python_backends.templates import knows_tools, read_template
from python_backends.triton import Array

_RESERVED = {"tokenize", "chat_template", "messages", "conversation", "tools", "return_tensors"}
"""What `chat_template_kwargs` may not set: a template from outside, or another kind of result."""


@dataclass(frozen=True, slots=True)
class Renderer:
    """Renders one model's prompts. `template` converts messages to text, `encode` text to ids.

    `source` is the template's text, which shows whether it supports tools and thinking. `literal`
    encodes special tokens in a text as ordinary text."""

    template: Callable[..., Any]
    encode: Callable[..., list[int]]
    vocabulary_size: int
    context_length: int
    source: str = ""
    infill: Infill | None = None
    literal: Callable[..., list[int]] | None = None
    limits: Limits = DEFAULT_LIMITS
    texts: Texts | None = None

    @classmethod
    def load(
        cls,
        folder: Path,
        context_length: int,
        fim: str | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> "Renderer":
        """Reads a Hugging Face tokenizer folder, without network. `fim` is the config's layout."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)

        def encode(text: str, special: bool) -> list[int]:
            # the tokenizer inside: its wrapper costs three times as much for a short prompt
            backend = getattr(tokenizer, "backend_tokenizer", None)
            if backend is not None:
                ids: list[int] = backend.encode(text, add_special_tokens=special).ids
                return ids
            return list(tokenizer.encode(text, add_special_tokens=special))

        source = read_template(folder)
        infill = find_infill(fim, tokenizer.get_vocab())
        literal = _literal(tokenizer) if infill is not None else None
        return cls(
            metered(tokenizer, limits),
            encode,
            len(tokenizer),
            context_length,
            source,
            infill,
            literal,
            limits,
            Texts.of(tokenizer),
        )

    def render(self, prompt: Mapping[str, Any]) -> Array:
        """`token_ids` INT32 [length]. Raises InvalidInput for fields that it cannot use."""
        form = form_of(prompt)
        limit = self._limit(prompt)
        truncation = Truncation.read(prompt.get("truncate"), limit)
        if form == "messages":
            ids = self._messages(prompt, limit, truncation)
        elif form == "text":
            if not isinstance(prompt["text"], str):
                raise InvalidInput("'text' must be a string", param="prompt")
            ids = self._text(prompt, truncation)
        else:
            ids = self._checked(prompt["token_ids"], "token_ids")
        if truncation is not None and len(ids) >= limit and not _shows_images(prompt):
            ids = truncation.cut(ids)
        if "tokenize" not in prompt:
            self._check_length(len(ids), "messages" if form == "messages" else "prompt", limit)
        return np.array(ids, dtype=np.int32)

    def answer(self, prompt: Mapping[str, Any]) -> dict[str, Array]:
        """The step's outputs: `token_ids`, and `text` STRING [-1] where the request asks for it."""
        if prompt.get("decode") is not None:
            form_of(prompt)
            ids = self._checked(prompt["decode"], "decode", "tokens")
            return {
                "token_ids": np.array(ids, dtype=np.int32),
                "text": strings([self._of.text(ids)]),
            }
        if (shown := prompt.get("tokenize", "ids")) not in ("ids", "strings"):
            raise InvalidInput("'tokenize' must be 'ids' or 'strings'", param="tokenize")
        rendered = {"token_ids": self.render(prompt)}
        if shown == "strings":
            rendered["text"] = strings(self._of.each(rendered["token_ids"].tolist()))
        return rendered

    @property
    def _of(self) -> Texts:
        assert self.texts is not None
        return self.texts

    def _messages(
        self, prompt: Mapping[str, Any], limit: int, truncation: Truncation | None
    ) -> list[int]:
        """The ids of a conversation, without the oldest messages if they do not fit."""
        prefix = self._checked(prompt.get("prefix_token_ids") or [], "prefix_token_ids")
        bounded = self._bounded(self.encode, "messages")
        special = _flag(prompt, "add_special_tokens", False)

        def ids_of(
            messages: Sequence[Mapping[str, Any]], encode: Callable[..., list[int]] = bounded
        ) -> list[int]:
            return prefix + encode(self._chat({**prompt, "messages": messages}), special)

        messages = messages_of(prompt)
        if truncation is None:
            return ids_of(messages)
        fitting = within(ids_of, messages, limit - 1)
        if fitting is None:
            fitting = shorten(messages, lambda some: within(ids_of, some, truncation.most))
        if fitting is not None or _shows_images(prompt):
            return ids_of(messages) if fitting is None else fitting
        *others, last = last_turns(messages, truncation)
        for turn in others:
            with contextlib.suppress(InvalidInput):
                return ids_of(turn, self.encode)  # all of it: truncation keeps the end
        return ids_of(last, self.encode)

    def _limit(self, prompt: Mapping[str, Any]) -> int:
        """The maximum of prompt and reply tokens: the model's context, or less if the request sets
        it."""
        requested = prompt.get("context_length")
        if requested is None:
            return self.context_length
        if type(requested) is not int or requested < 1:
            raise InvalidInput(
                "'context_length' must be a number of tokens", param="context_length"
            )
        return min(requested, self.context_length)

    def _text(self, prompt: Mapping[str, Any], truncation: Truncation | None) -> list[int]:
        suffix, text = prompt.get("suffix"), prompt["text"]
        encode = self._bounded(self.encode, "prompt")
        if truncation is not None:
            text, encode = truncation.cut_text(text), self.encode
        self._check_bytes(text, "prompt")
        if suffix is None:
            return encode(text, _flag(prompt, "add_special_tokens", True))
        if not isinstance(suffix, str):
            raise InvalidInput("'suffix' must be a string", param="suffix")
        if self.infill is None:
            raise refuse()
        self._check_bytes(suffix, "suffix")
        texts = {"prefix": text, "suffix": suffix}
        literal = self._bounded(self.literal or self.encode, "prompt")
        return self.infill.ids(texts, encode, literal)

    def _bounded(self, encode: Callable[..., list[int]], param: str) -> Callable[..., list[int]]:
        """`encode`, but it stops and raises ContextOverflow when the context is full."""

        def ids(text: str, special: bool) -> list[int]:
            if len(text) <= PIECE:
                return encode(text, special)
            inner = encode_up_to(lambda part: encode(part, False), text, self.context_length)
            if len(inner) > self.context_length:
                raise _too_long(None, param, self.context_length)
            first, last = _around(encode) if special else ([], [])
            return [*first, *inner, *last]

        return ids

    def _check_bytes(self, text: str, param: str) -> None:
        check_bytes(text, self.limits.text_bytes, param, self.context_length)

    def _chat(self, prompt: Mapping[str, Any]) -> str:
        from jinja2 import TemplateError

        options = prompt.get("chat_template_kwargs") or {}
        if reserved := sorted(_RESERVED & set(options)):
            raise InvalidInput(
                f"'chat_template_kwargs.{reserved[0]}' cannot be set by a request",
                param="chat_template_kwargs",
            )
        self._check_sizes(prompt, options)
        options = self._effort(prompt.get("reasoning_effort")) | options
        continues = _flag(prompt, "continue_final_message", False)
        # a template that does not mention images would silently leave them out
        images = "image" in self.source
        messages = [with_objects(flatten(message, images)) for message in messages_of(prompt)]
        tools = prompt.get("tools") or None
        if not knows_tools(self.source):
            messages, tools = as_text(messages, tools or ()), None
        try:
            text = str(
                self.template(
                    messages,
                    **options,
                    tools=tools,
                    add_generation_prompt=_flag(prompt, "add_generation_prompt", not continues),
                    continue_final_message=continues,
                    tokenize=False,
                )
            )
        # templates raise what they like for roles or fields that they do not expect
        except (TemplateError, ValueError, TypeError, KeyError) as error:
            raise InvalidInput(
                f"the model's chat template rejected the messages: {error}", param="messages"
            ) from error
        # a template may repeat what it gets, so the result is measured as well as the parts
        self._check_bytes(text, "messages")
        return text

    def _check_sizes(self, prompt: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        """Runs before anything is rendered. Raises InvalidInput, naming the field, for a text or
        options that are too long."""
        most = self.limits.template_kwargs_bytes
        if len(json.dumps(options)) > most:
            raise InvalidInput(
                f"'chat_template_kwargs' has more than {most} bytes; shorten it",
                param="chat_template_kwargs",
            )
        for number, message in enumerate(messages_of(prompt)):
            for text in texts_of(message.get("content")):
                self._check_bytes(text, f"messages[{number}].content")

    def _effort(self, effort: str | None) -> dict[str, Any]:
        """Maps a reasoning effort to the template's own arguments: levels or a switch."""
        if effort is None:
            return {}
        # levels come first: gpt-oss knows low, medium and high, but no way to switch off
        if "reasoning_effort" in self.source and effort != "none":
            return {"reasoning_effort": effort}
        if "enable_thinking" in self.source:
            return {"enable_thinking": effort != "none"}
        if effort != "none":
            raise InvalidInput(
                f"'reasoning_effort' is '{effort}', but this model does not support it; leave"
                " it out",
                code="unsupported_parameter",
                param="reasoning_effort",
            )
        return {}

    def _checked(self, ids: Any, name: str, param: str = "prompt") -> list[int]:
        whole = isinstance(ids, list) and all(type(number) is int for number in ids)
        if not whole or not all(0 <= number < self.vocabulary_size for number in ids):
            raise InvalidInput(
                f"'{name}' must be a list of integers from 0 to {self.vocabulary_size - 1}",
                param=param,
            )
        return list(ids)

    def _check_length(self, length: int, param: str, limit: int) -> None:
        # a prompt that fills the context leaves no room for a token of the reply
        if length >= limit:
            raise _too_long(length, param, limit)
        if not length:
            raise InvalidInput("the prompt is empty; send at least one token", param=param)


def _too_long(length: int | None, param: str, limit: int) -> ContextOverflow:
    """`length` is None when tokenizing stopped at the context length."""
    shown = f"more than {limit}" if length is None else str(length)
    return ContextOverflow(
        f"the prompt has {shown} tokens, which leaves no room for a reply in the model's context"
        f" of {limit}; shorten it",
        param=param,
        limit=limit,
        prompt_tokens=length,
        requested_tokens=1,
    )


def _around(encode: Callable[..., list[int]]) -> tuple[list[int], list[int]]:
    """The special tokens that a tokenizer puts before and behind a text."""
    plain, whole = encode("a", False), encode("a", True)
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return whole[:start], whole[start + len(plain) :]
    return [], []


def _literal(tokenizer: Any) -> Callable[..., list[int]] | None:
    """An encoder that treats special tokens in a text as ordinary text; None if there is none."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    # the flag is the tokenizer's own state, and the chat template needs special tokens read
    apart = copy.deepcopy(backend)
    apart.encode_special_tokens = True
    return lambda text, special: list(apart.encode(text, add_special_tokens=special).ids)


def _shows_images(prompt: Mapping[str, Any]) -> bool:
    return any(map(has_images, prompt.get("messages") or ()))


def _flag(prompt: Mapping[str, Any], name: str, default: bool) -> bool:
    value = prompt.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidInput(f"'{name}' must be true or false", param=name)
    return value
