"""Checks a user's chat template during the build: it is read, parsed and rendered once.

It renders in the sandbox, with the functions that transformers provides. Tools, images and
reasoning are not tried.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from jinja2 import TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from toolkit.errors import SourceError

_TAGS = ["jinja2.ext.loopcontrols", "jinja2.ext.do"]
_MAX_BYTES = 1 << 20
_QUESTION = "toolkit-probe"
_MESSAGES = [{"role": "user", "content": _QUESTION}]


def read_template(path: Path) -> str:
    """The text of a Jinja template. Raises SourceError with file and line."""
    if problem := problem_of(path):
        raise SourceError(f"{path}{problem}", hint="correct the chat template")
    return path.read_text(encoding="utf-8")


def problem_of(path: Path) -> str | None:
    """The error of a template, to be printed after the file's name."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            return ": is larger than 1 MiB"
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return f" cannot be read: {error}"
    try:
        rendered = _render(text)
    except TemplateSyntaxError as error:
        return f":{error.lineno}: {error.message}"
    # expressions of a template may fail in any of Python's ways
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        return f": cannot render one user message: {error}"
    if _QUESTION not in rendered:
        return ": renders a conversation without the user's message"
    return None


def _render(text: str) -> str:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=_TAGS
    )
    # a stand-in: only whether the message appears is checked, not how values look
    environment.filters["tojson"] = lambda value, **_options: str(value)
    environment.globals |= {"raise_exception": _refuse, "strftime_now": _now}
    # `{% generation %}` marks training targets and renders as what it contains
    for tag in ("generation", "endgeneration"):
        for left, right in (("{%", "%}"), ("{%-", "%}"), ("{%", "-%}"), ("{%-", "-%}")):
            text = text.replace(f"{left} {tag} {right}", "")
    tokens = {name: f"<{name}>" for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    return environment.from_string(text).render(
        messages=_MESSAGES, tools=None, documents=None, add_generation_prompt=True, **tokens
    )


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now(UTC).strftime(form)
