"""`toolkit init` and `toolkit schema`: a first models.yaml, and what editors need for it."""

import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.options import takes
from toolkit.cli.output import print_error, say
from toolkit.errors import RepositoryError, SpecError, UsageError
from toolkit.fields.entry import NAME, NAME_HINT
from toolkit.finding import Finding, Place, Severity
from toolkit.kinds import all_kinds

if TYPE_CHECKING:
    from toolkit.spec.starter import Choice

SCHEMA_FILE = "models.schema.json"
_SOURCE = "[NAME=]SOURCE"
_LONGEST = 100_000_000
"""Tokens: above the longest context of any model, so that a slip of the keyboard is refused."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The command line of `toolkit init` without the sources: each kind has an option for them."""

    models: Annotated[Path, typer.Argument(help="The file to write.")] = Path("models.yaml")
    context_length: Annotated[
        int,
        typer.Option(
            min=16, max=_LONGEST, help="Language models: tokens of prompt and answer together."
        ),
    ] = 2048
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", "-y", help="Do not ask questions. Without sources: small example models."
        ),
    ] = False
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False


_KINDS = {name: kind for name, kind in all_kinds().items() if kind.example}


def _sources(title: str) -> object:
    option = typer.Option(metavar=_SOURCE, help=f"{title}; may be repeated.")
    return Annotated[list[str] | None, option]


# made from the kinds, so that a new kind gets its option without a change here
_Options = make_dataclass(
    "_Options",
    [(name, _sources(kind.title), field(default=None)) for name, kind in _KINDS.items()],
    bases=(Settings,),
    frozen=True,
)


@takes(_Options)
def init(options: Settings) -> None:
    """Write a commented models.yaml to start from.

    Its JSON Schema is written beside it, so that editors complete and check the file. A source is
    `package:NAME==VERSION/path`, `path:FOLDER`, `hf:ORG/NAME`, `gguf:FILE.gguf`, `s3:BUCKET/PATH`
    or `gs:BUCKET/PATH`. Without a source, the command asks for them.

    Examples:

        toolkit init

        toolkit init --llm hf:HuggingFaceTB/SmolLM2-360M-Instruct --context-length 4096
    """
    from toolkit.spec.starter import starter

    models = options.models
    if models.exists() and not options.force:
        raise RepositoryError(
            f"{models} already exists",
            hint="choose another name, or pass --force to replace the file",
        )
    schema = models.with_name(SCHEMA_FILE)
    # checked before anything is written
    text, spec = starter(
        _choices(options),
        models.absolute().parent,
        context_length=options.context_length,
        schema=schema.name,
    )
    models.parent.mkdir(parents=True, exist_ok=True)
    # the schema first: an editor that opens models.yaml looks for it immediately
    try:
        _write(schema, _schema_text())
        _write(models, text)
    except OSError as error:
        # the person knows the destination, and not the files beside it
        raise OSError(error.errno, error.strerror, str(models)) from error
    say(f"{models}: {', '.join(spec.models)}")
    say(f"next: {shlex.join(['toolkit', 'build-repo', str(models)])} && toolkit serve")


def schema() -> None:
    """Print the JSON Schema of models.yaml.

    Editors use it to complete and check the file.

    Examples:

        toolkit schema > models.schema.json
    """
    typer.echo(_schema_text(), nl=False)


def _choices(options: Settings) -> Sequence["Choice"]:
    """What the options name, or the answers to questions. Raises SpecError with all errors."""
    from toolkit.spec.starter import Choice

    folder = options.models.absolute().parent
    given: list[Choice] = []
    findings: list[Finding] = []
    for kind in _KINDS:
        for text in getattr(options, kind) or ():
            choice, wrong = _choice(kind, text, given, folder)
            findings += [replace(each, place=Place(field=f"--{kind}")) for each in wrong]
            # also a wrong one: a name that appears twice is then found, too
            given.append(choice)
    if findings:
        raise SpecError(findings)
    if given:
        return given
    if not options.yes and sys.stdin.isatty():
        return _ask(folder)
    return [Choice(name, kind.example) for name, kind in _KINDS.items() if kind.in_starter]


def _choice(
    kind: str, text: str, before: Sequence["Choice"], folder: Path
) -> "tuple[Choice, list[Finding]]":
    """From `NAME=SOURCE` or a source, and what is wrong with it.

    A `=` after the first `:` belongs to the source.
    """
    from toolkit.spec.starter import Choice

    name, sign, source = text.partition("=")
    named = bool(sign) and ":" not in name
    choice = Choice(kind, source, name) if named else Choice(kind, text)
    findings = _source_findings(choice.source, folder)
    if named and not re.fullmatch(NAME, name):
        findings.append(_finding(f"'{name}' is not a valid name", NAME_HINT))
    if named and any(each.name == name for each in before):
        findings.append(_finding(f"the name '{name}' is used twice", "choose another name"))
    return choice, findings


def _source_findings(text: str, folder: Path) -> list[Finding]:
    from toolkit.fields.source import parse_source, path_of

    try:
        path = path_of(parse_source(text))
    except ValueError as error:
        problem, _, forms = str(error).partition(": ")
        return [_finding(problem, forms or None)]
    if path is not None and not (folder / path).exists():
        return [_finding(f"{folder / path} does not exist", f"paths are relative to {folder}")]
    return []


def _finding(text: str, fix: str | None) -> Finding:
    return Finding(Severity.ERROR, Place(), text, fix)


def _ask(folder: Path) -> list["Choice"]:
    """Asks for each kind until the answer is valid; an empty one takes the example or skips it."""
    choices: list[Choice] = []
    for name, kind in _KINDS.items():
        example = kind.example if kind.in_starter else ""
        text = f"{kind.title}: source{' (- for none)' if example else ' (empty for none)'}"
        text += f" [{example}]: " if example else ": "
        while (answer := _read_line(text) or example) not in {"", "-"}:
            choice, wrong = _choice(name, answer, choices, folder)
            if not wrong:
                choices.append(choice)
                break
            print_error(SpecError(wrong))
    if not choices:
        raise UsageError("no model was chosen", hint="name a source: toolkit init --llm SOURCE")
    return choices


def _read_line(question: str) -> str:
    """An answer from the terminal. Raises Abort at its end."""
    typer.echo(question, nl=False, err=True)
    # not `input`, which writes its question to stdout, where results go
    line = sys.stdin.readline()
    if not line:
        raise typer.Abort
    return line.strip()


def _schema_text() -> str:
    from toolkit.spec.schema import models_schema

    return json.dumps(models_schema(), indent=2, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    """Writes the whole file or nothing."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
