"""Recognizes the kind of a checkpoint by the names of its files and its config.json.

It reads small files only, also from a repository on the Hub, before weights are downloaded.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from toolkit.errors import MissingExtra, SourceError
from toolkit.fields.source import GgufSource, HubSource, Source
from toolkit.fit.checkpoint import read_gguf
from toolkit.kinds.classify import classify, classify_gguf
from toolkit.kinds.files import Files, read_files
from toolkit.progress import Progress
from toolkit.weights.fetch import fetch, hub_place
from toolkit.weights.sources import recorded

_QUALITY = ("q8_0", "q6_k", "q5_k_m", "q4_k_m", "q5_0", "q4_0", "bf16", "f16")
"""Which of several GGUF files is taken: weights are served as 16 bit numbers, so the file is only a
matter of download size and quality."""
_DECLARE = "declare it in a models.yaml with its `kind`: toolkit init"


@dataclass(frozen=True, slots=True)
class Detected:
    """A source with its kind, and the model's maximum context in tokens."""

    source: Source
    kind: str
    context_length: int | None


def detect(source: Source, progress: Progress) -> Detected:
    """Raises SourceError for a source that cannot be served, and says what it is."""
    if isinstance(source, GgufSource):
        return _gguf(source, progress)
    files = _hub(source, progress) if isinstance(source, HubSource) else None
    if files is None:
        path = fetch(source, Path("/"), progress).path
        if path.suffix == ".gguf":
            return Detected(source, *_read_gguf(path))
        files = read_files(path)
    choice = None if _has_config(files) else choose_gguf(files.names)
    if isinstance(source, HubSource) and choice is not None:
        return detect(GgufSource(_file_of(source, choice)), progress)
    kind = kind_of(str(source), files)
    return Detected(source, kind, longest_context(files.config))


def kind_of(name: str, files: Files) -> str:
    """The kind that `files` are certainly of; `name` is for messages. Raises SourceError if it is
    not certain or cannot be served."""
    found = classify(files)
    if found.kind and found.certain:
        return found.kind
    if found.what and not found.kind:
        raise SourceError(f"{name} is {found.what}, which cannot be served", hint=found.fix)
    named = ", ".join(files.architectures)
    what = f"its architecture is {named}" if named else _nothing(files.names)
    raise SourceError(f"the kind of {name} cannot be detected: {what}", hint=_DECLARE)


def longest_context(config: Mapping[str, Any]) -> int | None:
    """`max_position_embeddings` of a config, or of its text part."""
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        for key in ("max_position_embeddings", "n_positions", "max_sequence_length"):
            if isinstance(part.get(key), int):
                return int(part[key])
    return None


def choose_gguf(names: Collection[str]) -> str | None:
    """One model's file among several, without projectors and later parts of a split file."""
    files = sorted(
        name
        for name in names
        if name.endswith(".gguf")
        and "mmproj" not in name.lower()
        and ("-of-" not in name or "-00001-of-" in name)
    )
    for quality in _QUALITY:
        for name in files:
            if quality in name.lower():
                return name
    return files[0] if files else None


def _nothing(names: Collection[str]) -> str:
    if "config.json" in names:
        return "config.json does not name an architecture"
    listed = ", ".join(sorted(names)[:6])
    return f"it has no config.json or model_index.json, only {listed or 'no files'}"


def _has_config(files: Files) -> bool:
    return bool({"config.json", "model_index.json"} & set(files.names)) and any(
        name.endswith((".safetensors", ".bin")) for name in files.names
    )


def _file_of(source: HubSource, file: str) -> HubSource:
    return HubSource(source.repository, source.revision, file)


def _gguf(source: GgufSource, progress: Progress) -> Detected:
    return Detected(source, *_read_gguf(fetch(source, Path("/"), progress).path))


def _read_gguf(path: Path) -> tuple[str, int | None]:
    config = read_gguf(path).config
    found = classify_gguf(str(config["model_type"]))
    if not found.kind:
        raise SourceError(f"{path.name} is {found.what}, which cannot be served", hint=found.fix)
    return found.kind, longest_context(config)


def _hub(source: HubSource, progress: Progress) -> Files | None:
    """What the Hub says; None where the whole model is here already."""
    try:
        hub = import_module("toolkit.weights.hub")
    except ImportError as error:
        raise MissingExtra("weights", f"the source {source}") from error
    if hub.cached(source) is not None:
        return None
    place = hub_place(source)
    if place is not None and place.exists():
        return read_files(recorded(place).path)
    with progress.step(f"look up {source}"):
        files: Files = hub.look(source)
    return files
