"""The file that names the upstreams: TOML, or JSON where its name ends with `.json`."""

import json
import re
import reprlib
import tomllib
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from frontend.domain.labels import problem_of_labels
from frontend.domain.upstreams import UpstreamEntry

_MAX_BYTES = 2**20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_ENTRIES = TypeAdapter(list[UpstreamEntry])


def read_entries(file: Path) -> list[UpstreamEntry]:
    """The upstreams of a file. Raises ValueError that names the field and its value."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise ValueError(f"{file} has more than {_MAX_BYTES} bytes")
    try:
        text = content.decode()
        given: Any = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from None
    if not isinstance(given, dict) or given.keys() != {"upstreams"}:
        raise ValueError(f"{file} must have one list, 'upstreams'")
    try:
        entries = _ENTRIES.validate_python(given["upstreams"])
    except ValidationError as error:
        raise ValueError(f"{file}: {_said(error)}") from None
    _check(file, entries)
    return entries


def _said(error: ValidationError) -> str:
    (first, *_) = error.errors()
    place = "upstreams"
    for part in first["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}"
    return f"'{place}' is {reprlib.repr(first['input'])}: {first['msg']}"


def _check(file: Path, entries: list[UpstreamEntry]) -> None:
    if not entries:
        raise ValueError(f"{file}: 'upstreams' is empty")
    seen: set[str] = set()
    for number, entry in enumerate(entries):
        place = f"{file}: 'upstreams[{number}]"
        if _NAME.fullmatch(entry.name) is None:
            allowed = "use letters, digits, '.', '_' and '-'"
            raise ValueError(f"{place}.name' is {entry.name!r}: {allowed}")
        if entry.name in seen:
            raise ValueError(
                f"{place}.name' is {entry.name!r}, which another upstream already has; choose"
                " another name"
            )
        seen.add(entry.name)
        if (problem := problem_of_labels(entry.labels, external=entry.external)) is not None:
            raise ValueError(f"{place}.labels' {problem}")
        most, engine = entry.max_concurrent, entry.max_num_seqs
        if most is not None and engine is not None and most > engine:
            raise ValueError(
                f"{place}.max_concurrent' is {most}, more than the engine's max_num_seqs of"
                f" {engine}; lower it, because the fair share does not cover requests that wait"
                " inside the engine"
            )
