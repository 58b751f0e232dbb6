"""Parses the text that names a model: `hf:ORG/NAME`, a file, a folder, a name.

It reads the disk only to distinguish files from folders.
"""

import re
from pathlib import Path

from toolkit.catalogue import find_available, suggest
from toolkit.errors import InvalidSource, MissingPath, SourceError
from toolkit.fields.source import GgufSource, PathSource, Source, parse_source

_SCHEMES = ("hf:", "package:", "path:", "gguf:", "s3:", "gs:")
_PATHS = ("/", "./", "../", "~/")
_ON_HUB = re.compile(r"https?:/{1,2}(?:huggingface\.co|hf\.co)/([^/\s]+/[^/\s?#]+)/?")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_CONFIGS = ("config.json", "model_index.json", "modules.json")


def is_repository(text: str) -> bool:
    """Whether it is a folder with Triton models."""
    folder = Path(text)
    return (folder / "repository.json").exists() or any(folder.glob("[!.]*/config.pbtxt"))


def names_source(text: str) -> bool:
    """Whether the text names weights: with a scheme, as a file, a folder or a known name."""
    if text.startswith(_SCHEMES) or _ON_HUB.fullmatch(text) or text.endswith(".gguf"):
        return True
    path = Path(text)
    if path.is_dir() and not is_repository(text):
        return any((path / name).exists() for name in _CONFIGS) or any(path.glob("*.gguf"))
    return not path.exists() and find_available(text) is not None


def read_source(text: str) -> Source:
    """The source that a text names; paths become absolute. Raises SourceError if it is neither a
    file nor a known model."""
    if address := _ON_HUB.fullmatch(text):
        text = f"hf:{address[1]}"
    if text.startswith("hf:") and text.endswith(".gguf"):
        text = f"gguf:{text}"
    try:
        if text.startswith(_SCHEMES):
            return _absolute(parse_source(text))
        path = Path(text).expanduser()
        if path.exists() or text.endswith(".gguf"):
            return _local(path)
        if known := find_available(text):
            return parse_source(known.source)
    except ValueError as error:
        problem, _, forms = str(error).partition(": ")
        raise InvalidSource(problem, hint=forms or None) from error
    if not text.strip():
        raise InvalidSource("the name of the model is empty", hint="name a model or a file")
    if text.startswith(_PATHS):
        raise MissingPath(f"{text} does not exist", hint="check the path")
    near = f"did you mean hf:{text}?" if _HUB_NAME.fullmatch(text) else suggest(text)
    raise InvalidSource(f"'{text}' is neither a file nor a known model", hint=near)


def _absolute(source: Source) -> Source:
    inner = source.file if isinstance(source, GgufSource) else source
    if not isinstance(inner, PathSource):
        return source
    found = _local(Path(inner.path).expanduser())
    return found if isinstance(source, PathSource) or isinstance(found, GgufSource) else source


def _local(path: Path) -> Source:
    path = path.absolute()
    if not path.exists():
        raise MissingPath(f"{path} does not exist", hint="check the path")
    if path.is_file():
        if path.suffix in (".yaml", ".yml"):
            raise InvalidSource(
                f"{path} is not a model", hint=f"toolkit build-repo {path}, and serve the result"
            )
        if path.suffix != ".gguf":
            raise InvalidSource(
                f"{path} is not a .gguf file",
                hint="name a .gguf file, a Hugging Face directory, or a repository of `toolkit "
                "build-repo`",
            )
        return GgufSource(PathSource(str(path)))
    if any((path / name).exists() for name in _CONFIGS):
        return PathSource(str(path))
    files = sorted(path.glob("*.gguf"))
    if len(files) == 1:
        return GgufSource(PathSource(str(files[0])))
    if files:
        names = ", ".join(file.name for file in files[:4])
        raise SourceError(f"{path} contains several models: {names}", hint="name one of the files")
    raise SourceError(
        f"{path} does not contain weights or a model repository",
        hint="name a Hugging Face directory, a .gguf file, or a repository of `toolkit build-repo`",
    )
