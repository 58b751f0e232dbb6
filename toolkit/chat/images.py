"""Images in a prompt: paths that a person typed or dropped there → data URLs. New image files."""

import base64
import os
import re
import shlex
from pathlib import Path

from toolkit.chat.paths import is_file
from toolkit.errors import UsageError

_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
}
_LONGEST_NAME = 40
_MOST_BYTES = 20 << 20
_PATH = re.compile(
    r"""(?P<quoted>'[^']+\.(?:png|jpe?g|webp|gif|bmp)'|"[^"]+\.(?:png|jpe?g|webp|gif|bmp)")"""
    r"""|(?P<plain>(?:[~.]{0,2}/|[\w-])(?:[^\s'"\\]|\\.)*\.(?:png|jpe?g|webp|gif|bmp)\b)""",
    re.IGNORECASE,
)


def take_images(text: str) -> tuple[str, list[Path]]:
    """The text without the paths of image files that exist, and these paths."""
    found: list[Path] = []

    def take(match: re.Match[str]) -> str:
        try:
            path = Path(shlex.split(match[0])[0]).expanduser()
        # a quote that does not end, or `~` and no user's name: a text, not a path
        except (ValueError, RuntimeError):
            return match[0]
        if not is_file(path):
            return match[0]
        found.append(path)
        return ""

    rest = _PATH.sub(take, text)
    return (re.sub(r"[ \t]{2,}", " ", rest).strip(), found) if found else (text, found)


def data_url(path: Path) -> str:
    """The file as a `data:` URL. Raises UsageError for what is not an image that can be sent."""
    kind = _TYPES.get(path.suffix.lower())
    if kind is None:
        raise UsageError(f"{path} is not an image", hint=f"known: {', '.join(_TYPES)}")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(
                f"{path} is larger than {_MOST_BYTES >> 20} MiB", hint="resize it first"
            )
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def new_file(prompt: str) -> Path:
    """A file in the current folder that does not exist: `a-red-heart.png`, `a-red-heart-2.png`."""
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:_LONGEST_NAME].strip("-")
    number = 1
    while True:
        path = Path(f"{words or 'image'}{f'-{number}' if number > 1 else ''}.png")
        try:
            # EXCL: two commands at the same time must not choose one name
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except FileExistsError:
            number += 1
        else:
            return path
