"""A tokenizer's chat template with limits on its computation and the length of its result.

A request supplies the data that a template loops over and the values of its variables, so lookups,
calls and the length of the result are limited. Only the tokenizer's own template is compiled.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

from python_backends.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one prompt. With `text_bytes` 0, the context length alone limits its bytes."""

    text_bytes: int = 0
    template_operations: int = 2_000_000
    template_kwargs_bytes: int = 65_536


DEFAULT_LIMITS = Limits()
_LONGEST_TEXT = 64 * 2**20  # characters, for a tokenizer whose longest token nobody knows


class _Metered(ImmutableSandboxedEnvironment):
    """Counts lookups and calls: every loop over a request's data makes some."""

    left: int
    text_limit: int

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise InvalidInput(
                "the model's chat template takes too long for these messages; send fewer messages"
                " or tools",
                code="context_length_exceeded",
                param="messages",
            )

    def getattr(self, obj: Any, attribute: str) -> Any:
        self._count()
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        self._count()
        return super().getitem(obj, argument)

    # names with underscores, as in jinja2: a template's own keyword may be called `self`
    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        __self._count()
        return super().call(__context, __obj, *args, **kwargs)

    def concat(self, pieces: Iterable[str]) -> str:
        """Joins the pieces of a rendered template; jinja2 calls it."""
        kept, size = [], 0
        for piece in pieces:
            self._count()
            # characters, at most the bytes: what passes is measured in bytes afterwards
            size += len(piece)
            if size > self.text_limit:
                raise InvalidInput(
                    f"the messages render to a prompt of more than {self.text_limit} bytes, the"
                    " model's maximum; shorten them",
                    code="context_length_exceeded",
                    param="messages",
                )
            kept.append(piece)
        return "".join(kept)


def metered(tokenizer: Any, limits: Limits) -> Callable[..., Any]:
    """`tokenizer.apply_chat_template` within `limits`; raises InvalidInput beyond them."""
    environments = [_meter(template) for template in _templates(tokenizer)]

    def render(*args: Any, **kwargs: Any) -> Any:
        for environment in environments:
            environment.left = limits.template_operations
            environment.text_limit = limits.text_bytes or _LONGEST_TEXT
        return tokenizer.apply_chat_template(*args, **kwargs)

    return render


def _templates(tokenizer: Any) -> list[str]:
    given = getattr(tokenizer, "chat_template", None)
    if isinstance(given, dict):  # named ones
        return list(given.values())
    return [given] if given else []


def _meter(template: str) -> _Metered:
    """The environment that transformers keeps for a template, from now on one that counts."""
    from transformers.utils import chat_template_utils

    compiled = chat_template_utils._compile_jinja_template(template)
    # transformers keeps the compiled template in a cache, so a template of our own would not
    # be the one that `apply_chat_template` renders
    compiled.environment.__class__ = _Metered
    environment: _Metered = compiled.environment
    return environment
