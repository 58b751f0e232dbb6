"""`toolkit init` and `toolkit schema`: a first models.yaml, and what editors need for it."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from toolkit.errors import RepositoryError, SourceError
from toolkit.fields.source import parse_source
from toolkit.kinds import all_kinds
from toolkit.spec.schema import models_schema
from toolkit.spec.starter import Choice, starter

_DEFAULT = ("llm", "embedding")
SCHEMA_FILE = "models.schema.json"


def init(
    models: Annotated[Path, typer.Argument(help="The file to write.")] = Path("models.yaml"),
    llm: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]SOURCE", help="A language model; may be repeated."),
    ] = None,
    embedding: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]SOURCE", help="An embedding model; may be repeated."),
    ] = None,
    rerank: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]SOURCE", help="A cross-encoder; may be repeated."),
    ] = None,
    diffusion: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]SOURCE", help="A diffusers pipeline; may be repeated."),
    ] = None,
    context_length: Annotated[
        int, typer.Option(min=16, help="Tokens of a language model's prompt and answer together.")
    ] = 2048,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing; without sources, small examples.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a commented models.yaml to start from.

    Its JSON Schema is written beside it.

    Sources: `package:NAME==VERSION/path`, `path:FOLDER`, `hf:ORG/NAME`, `gguf:FILE.gguf`,
    `s3:BUCKET/PATH`, `gs:BUCKET/PATH`. Without any, it asks.

    Examples:

        toolkit init

        toolkit init --llm hf:HuggingFaceTB/SmolLM2-360M-Instruct --context-length 4096
    """
    talk = Console(file=sys.stderr, highlight=False, soft_wrap=True)
    if models.exists() and not force:
        raise RepositoryError(f"{models} exists already", hint="choose another name, or --force")
    given = {"llm": llm, "embedding": embedding, "rerank": rerank, "diffusion": diffusion}
    wishes = [_wish(kind, text) for kind, texts in given.items() for text in texts or ()]
    if not wishes:
        asks = not yes and sys.stdin.isatty()
        wishes = (
            _ask(talk) if asks else [Choice(kind, all_kinds()[kind].example) for kind in _DEFAULT]
        )
    schema = models.with_name(SCHEMA_FILE)
    text, spec = starter(
        wishes, models.absolute().parent, context_length=context_length, schema=schema.name
    )
    models.parent.mkdir(parents=True, exist_ok=True)
    _write(schema, _schema_text())
    _write(models, text)
    talk.print(f"{models}: {', '.join(spec.models)}", markup=False)
    talk.print(f"next: toolkit build-repo {models} && toolkit serve", markup=False)


def schema() -> None:
    """Print the JSON Schema of models.yaml.

    Editors use it to complete and check the file.

    Examples:

        toolkit schema > models.schema.json
    """
    typer.echo(_schema_text(), nl=False)


def _wish(kind: str, text: str) -> Choice:
    """`NAME=SOURCE`, or a source alone; a `=` behind the first `:` is the source's own."""
    name, sign, source = text.partition("=")
    if sign and ":" not in name:
        return Choice(kind, source, name)
    try:
        parse_source(text)
    except ValueError as error:
        problem, _, forms = str(error).partition(": ")
        raise SourceError(f"--{kind}: {problem}", hint=forms or None) from error
    return Choice(kind, text)


def _ask(talk: Console) -> list[Choice]:
    """One question per kind; an empty answer leaves it out, `-` too where an example is offered."""
    wishes = []
    for kind, question in _questions().items():
        offered = all_kinds()[kind].example if kind in _DEFAULT else ""
        text = f"{question}: source{' (- for none)' if offered else ' (empty for none)'}"
        talk.print(text + (f" [{offered}]" if offered else "") + ": ", end="", markup=False)
        answer = sys.stdin.readline().strip() or offered
        if answer not in {"", "-"}:
            wishes.append(_wish(kind, answer))
    if not wishes:
        raise RepositoryError(
            "nothing was chosen", hint="name one source: toolkit init --llm SOURCE"
        )
    return wishes


def _questions() -> dict[str, str]:
    return {name: kind.title for name, kind in all_kinds().items() if kind.example}


def _schema_text() -> str:
    return json.dumps(models_schema(), indent=2, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    """All of it or nothing."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
