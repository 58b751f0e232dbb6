"""Handles paths that a person types, which may begin with `~` or be too long. Opens no file."""

from pathlib import Path

from toolkit.errors import UsageError


def expand(text: str) -> Path:
    """The path, with the home folder for `~`. Raises UsageError for an unknown user."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{text}: this user does not exist", hint="check the path") from error


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; False for a text that is too long for a path."""
    try:
        return path.exists()
    except OSError:
        return False


def is_file(path: Path) -> bool:
    """Whether there is such a file, of any text."""
    return exists(path) and path.is_file()


def file_error(error: OSError) -> UsageError:
    """The operating system's error about a file, as a sentence."""
    text = error.strerror or str(error)
    return UsageError(
        f"{error.filename}: {text}" if error.filename else text,
        hint="check that the path exists and its permissions",
    )
