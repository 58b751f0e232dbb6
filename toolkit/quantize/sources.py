"""What a user names on the command line → a directory of safetensors on this disk."""

from pathlib import Path

from toolkit.convert.kept import keep_converted
from toolkit.convert.recipes import recipe
from toolkit.errors import SourceError
from toolkit.fields.source import parse_source
from toolkit.progress import Progress
from toolkit.spec import PathSource, Source
from toolkit.weights.fetch import fetch
from toolkit.weights.sources import Fetched


def find_source(text: str, progress: Progress) -> Fetched:
    """A path, or any source that models.yaml takes. Raises SourceError."""
    return fetch(parse(text), Path.cwd(), progress)


def parse(text: str) -> Source:
    """Raises SourceError for `package:` and `hf:` sources that are not written right."""
    if not text.startswith(("package:", "path:", "hf:")):
        return PathSource(text)
    try:
        return parse_source(text)
    except ValueError as error:
        raise SourceError(str(error)) from error


def as_checkpoint(fetched: Fetched, progress: Progress) -> Fetched:
    """A GGUF file's weights as a directory; anything else as it is."""
    if fetched.path.suffix != ".gguf":
        return fetched
    folder = keep_converted(recipe("gguf"), fetched, progress)
    return Fetched(folder / "engine" / "weights", fetched.digest)
