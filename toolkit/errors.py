"""What the toolkit raises on purpose. `cli` prints message and hint, and exits with `exit_code`.

ToolkitError
├── UsageError        a command was used in a wrong way, as with options that cannot be combined
├── SpecError         models.yaml is wrong: all findings at once, each with its line and field
│   └── BuildError    what models.yaml asks for cannot be built: all models at once
├── SourceError       weights cannot be found, fetched or verified
│   ├── MissingPath   a path that was named does not exist
│   └── InvalidSource the text of a source is not valid
├── ConvertError      weights were found but cannot be converted, or differ after it
├── QuantizeError     a model, a method and this machine do not fit together, or the work failed
│   └── QualityError  the result was measured and is worse than the limits allow
├── SetupError        a Python environment or the Triton runtime cannot be made
│   └── MissingExtra  an optional dependency group is not installed; names it
├── RepositoryError   a model repository cannot be written, or is not what it says
└── ServeError        a server cannot be started, died, or refuses what was asked of it
"""

import sys

from toolkit.finding import Finding


class ToolkitError(Exception):
    """Base of all errors that the user or the environment causes."""

    exit_code = 1

    def __init__(
        self, message: str, *, hint: str | None = None, field: tuple[str | int, ...] = ()
    ) -> None:
        """`field` is the path, inside a model's entry, of what the error is about."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field


class UsageError(ToolkitError):
    """A command was used in a wrong way."""

    exit_code = 2


class SpecError(ToolkitError):
    """models.yaml is not a valid spec; `findings` lists every reason."""

    exit_code = 2

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("\n".join(map(str, findings)))
        self.findings = findings


class BuildError(SpecError):
    """Weights that models.yaml names cannot be fetched, converted or used as it says."""

    exit_code = 1


class SourceError(ToolkitError):
    """Weights cannot be found, fetched or verified."""


class MissingPath(SourceError):
    """A path that a command line or models.yaml names does not exist."""

    exit_code = 2


class InvalidSource(SourceError):
    """A text that names weights does not have the form of a source."""

    exit_code = 2


class ConvertError(ToolkitError):
    """Weights were found but cannot be converted, or the result differs from its source."""


class QuantizeError(ToolkitError):
    """A model, a method and this machine do not fit together, or quantizing failed."""


class QualityError(QuantizeError):
    """The result was measured and is worse than the limits allow."""

    exit_code = 3


class SetupError(ToolkitError):
    """A Python environment or the Triton runtime cannot be made on this machine."""


class MissingExtra(SetupError):
    """An optional dependency group is not installed."""

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the extra '{extra}'",
            hint=f"{sys.executable} -m pip install 'triton-toolkit[{extra}]'",
        )


class RepositoryError(ToolkitError):
    """A model repository cannot be written, or is not what it says it is."""


class ServeError(ToolkitError):
    """A server cannot be started, died, or refuses what was asked of it."""
