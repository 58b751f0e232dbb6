"""Finds or makes the directory of safetensors for a source on the command line."""

from pathlib import Path

from toolkit.catalogue import catalogue, find_available, suggest
from toolkit.convert.kept import keep_converted
from toolkit.errors import MissingPath, SourceError, UsageError
from toolkit.fields.source import parse_source
from toolkit.kinds.llm.conversions import GGUF
from toolkit.names import close_models
from toolkit.progress import Progress
from toolkit.spec import PathSource, Source
from toolkit.weights.fetch import fetch
from toolkit.weights.sources import Fetched

_SCHEMES = ("package:", "path:", "hf:", "gguf:", "s3:", "gs:")
_SETTINGS = ("config.json", "model_index.json", "modules.json")
_FILES = (
    *_SETTINGS,
    ".index.json",
    ".safetensors",
    ".gguf",
    ".onnx",
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
)


def find_source(text: str, progress: Progress) -> Fetched:
    """Fetches a path, or any source that models.yaml accepts. Raises SourceError if it cannot be
    fetched, and UsageError if the text is not a source."""
    source = parse(text)
    if isinstance(source, PathSource) and Path(source.path).is_dir():
        _check_folder(Path(source.path))
    return fetch(source, Path.cwd(), progress)


def _check_folder(folder: Path) -> None:
    """Refuses a folder without a file of a model, such as `/`, before all of it is read."""
    if not any(path.name.endswith(_FILES) for path in folder.iterdir()):
        raise SourceError(
            f"{folder} does not contain weights or the settings of a model",
            hint="name a .gguf file, or a folder with config.json or model_index.json",
        )


def parse(text: str) -> Source:
    """Raises UsageError for a source that is not written right."""
    if not text:
        raise UsageError("the source is empty", hint="name a file, a folder, or hf:ORG/NAME")
    # a file that is there wins over a scheme of the same letters
    if Path(text).exists():
        return PathSource(text)
    if not text.startswith(_SCHEMES):
        if known := find_available(text):
            return parse_source(known.source)
        if "/" not in text and close_models(text, catalogue()):
            raise MissingPath(f"the file or model '{text}' does not exist", hint=suggest(text))
        return PathSource(text)
    try:
        return parse_source(text)
    except ValueError as error:
        problem, _, forms = str(error).partition(": ")
        raise UsageError(problem, hint=forms or "name a file or a folder") from error


def as_checkpoint(fetched: Fetched, progress: Progress) -> Fetched:
    """A GGUF file's weights as a directory; anything else as it is."""
    if fetched.path.suffix != ".gguf":
        return fetched
    folder = keep_converted(GGUF, fetched, progress)
    return Fetched(folder / "engine" / "weights", fetched.digest, conversion=folder.name)
