"""A chat template of the user's own: read and parsed, so that a mistake shows when building."""

from pathlib import Path

from jinja2 import TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from toolkit.errors import SourceError

_TAGS = ["jinja2.ext.loopcontrols", "jinja2.ext.do"]
_MAX_BYTES = 1 << 20


def read_template(path: Path) -> str:
    """The text of a Jinja template. Raises SourceError with file and line."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SourceError(f"{path} is larger than 1 MiB: no chat template")
        text = path.read_text(encoding="utf-8")
        # `{% generation %}` marks training targets and renders as what it contains
        plain = text.replace("{% generation %}", "").replace("{% endgeneration %}", "")
        ImmutableSandboxedEnvironment(extensions=_TAGS).parse(plain)
    except TemplateSyntaxError as error:
        raise SourceError(
            f"{path}:{error.lineno}: {error.message}", hint="correct the chat template"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    return text
