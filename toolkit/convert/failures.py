"""Converts exceptions of libraries to a ConvertError that names the model and the step.

Libraries raise any exception: KeyError for a config field, AssertionError for a size. The message
contains the library's text, and its traceback is the cause (`toolkit --debug` shows it).
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from toolkit.atomic import FULL
from toolkit.errors import ConvertError, ToolkitError

_MOST_LETTERS = 400


@contextmanager
def refusing(
    what: str,
    hint: str = "nothing was kept",
    kind: type[ToolkitError] = ConvertError,
    through: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Turns any error inside into `kind` with the message `what: the library's text`.

    The toolkit's own errors, those of `through` and a full disk pass unchanged: the last is not
    the model's fault, and who writes knows the destination.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (ToolkitError, *through)):
            raise
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        # safetensors, which is written in Rust, has an error of its own
        if f"(os error {errno.ENOSPC})" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise kind(f"{what}: {describe(error)}", hint=hint) from error


def describe(error: Exception) -> str:
    """An error in one line, with its type if its text is short."""
    text = " ".join(str(error).split())
    if type(error).__name__.endswith("FieldValidationError"):  # transformers', about config.json
        return f"config.json: {text[max(text.find('Field '), 0) :][:_MOST_LETTERS]}"
    if len(text) > _MOST_LETTERS:
        text = f"{text[:_MOST_LETTERS]} …"
    if isinstance(error, OSError | ValueError | RuntimeError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
