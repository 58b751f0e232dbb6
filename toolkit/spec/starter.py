"""Writes a first models.yaml, with comments that show further fields.

Pure text; it is read back before it is written, so that a starter is always valid.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.fields.source import GgufSource, HubSource, PackageSource, parse_source
from toolkit.kinds import all_kinds
from toolkit.spec.load import Spec, parse

_HEAD = """\
# The models to serve: `toolkit build-repo` builds a model repository from this file, and
# `toolkit serve` serves it.
# docs/reference/models.md and `toolkit schema` describe every field.
# yaml-language-server: $schema={schema}
version: 1

models:
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """A model to begin with. `name` is made from the source when it is None."""

    kind: str
    source: str
    name: str | None = None


def starter(
    choices: Sequence[Choice], folder: Path, *, context_length: int, schema: str
) -> tuple[str, Spec]:
    """The text of a models.yaml in `folder`, and its spec. Raises SpecError or ValueError if a
    choice is not valid."""
    text = _HEAD.format(schema=schema)
    names: list[str] = []
    for choice in choices:
        name = choice.name or unused(name_of(choice.source), names)
        names.append(name)
        text += (
            f"  {_quoted(name)}:\n    kind: {choice.kind}\n    source: {_quoted(choice.source)}\n"
        )
        kind = all_kinds()[choice.kind]
        length = kind.entry.model_fields.get("context_length")
        # kinds without a required length take the model's own
        if length is not None and length.is_required():
            text += f"    context_length: {context_length}\n"
        text += kind.hints + "\n"
    text = text.rstrip() + "\n"
    return text, parse("models.yaml", text, folder)


def name_of(source: str) -> str:
    """A model name for a source: the name of the repository, the file or the package."""
    origin = parse_source(source)
    inner = origin.file if isinstance(origin, GgufSource) else origin
    match inner:
        case HubSource(repository=repository, file=None):
            words = repository
        case PackageSource(requirement=requirement, member=member) if not member.endswith(".gguf"):
            words = requirement.partition("==")[0]
        case _:
            words = str(inner).rstrip("/")
    words = words.rpartition("/")[2].rpartition(":")[2].lower()
    words = re.sub(r"\.(gguf|zip|safetensors)$", "", words)
    name = re.sub(r"[^a-z0-9._-]+", "-", words).strip("-._")[:96]
    return name or "model"


def unused(name: str, taken: Iterable[str]) -> str:
    """`name`, with a number appended if it is in use."""
    names = set(taken)
    candidates = (
        name if number == 1 else f"{name}-{number}" for number in range(1, len(names) + 2)
    )
    return next(each for each in candidates if each not in names)


def _quoted(text: str) -> str:
    """Text as YAML: in quotes unless it is a plain word."""
    plain = re.fullmatch(r"[A-Za-z][\w./@:=+-]*", text) and not text.endswith(":")
    # YAML 1.1 readers take these for booleans or null
    if plain and text.lower() not in {"null", "true", "false", "yes", "no", "on", "off"}:
        return text
    return "'" + text.replace("'", "''") + "'"
