"""`toolkit models canary`: a real request to a model, or to a version not yet in service."""

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.endpoint import (
    Endpoint,
    Json,
    KeyText,
    Name,
    Port,
    Timeout,
    TritonAddress,
    prepare,
    run,
)
from toolkit.cli.status import numbers, say, show_answers
from toolkit.errors import ServeError
from toolkit.progress import Progress
from toolkit.serve.canary import Answer, ask, read_request, request_for
from toolkit.serve.control import Control, ModelStatus


def canary(
    name: Name,
    version: Annotated[
        int | None,
        typer.Option(min=1, help="Load this one beside the running ones for the trial."),
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="With --version: serve it alone if it answers.")
    ] = False,
    request: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What to ask, as Triton's HTTP API takes it. Default: a small one."
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many times to ask.")] = 1,
    port: Port = None,
    triton: TritonAddress = None,
    key: KeyText = None,
    timeout_s: Timeout = 600.0,
    as_json: Json = False,
) -> None:
    """Ask a model a real request; with --version, one that is not in service yet.

    The trial leaves things as they were, unless --promote is given and every answer was right.
    While it runs, Triton gives the highest loaded version to those who name none. Exit status: 0 it
    answered, 1 it did not.

    Examples:

        toolkit models canary all-minilm-l6-v2

        toolkit models canary my-model --version 2 --request ask.json --count 20 --promote
    """
    if promote and version is None:
        raise typer.BadParameter("--promote needs --version", param_hint="--promote")
    endpoint = Endpoint(port, triton, key, timeout_s)
    text = _read(request) if request is not None else None

    def trying(control: Control, progress: Progress) -> list[Answer]:
        before = control.find(name)
        chosen = version or max(before.serving, default=None)
        if chosen is None:
            raise ServeError(f"{name} is not loaded", hint=f"toolkit models load {name}")
        served = before.served
        asked = read_request(text) if text is not None else None
        trial = chosen not in before.serving
        if trial:
            prepare(control, progress)
            with progress.step(f"load {name}, version {chosen}"):
                served = control.load(name, [*before.serving, chosen]).served
        answered = False
        try:
            asked = asked or request_for(served)
            with progress.step(f"ask version {chosen}", total=count, unit="requests") as step:
                answers = []
                for _ in range(count):
                    answers.append(ask(served, chosen, control.api, asked, timeout_s))
                    step.advance()
            answered = all(answer.problem is None for answer in answers)
        finally:
            if promote and answered:
                with progress.step(f"serve version {chosen} alone"):
                    control.load(name, [chosen])
            elif trial:
                with progress.step(f"back to version {numbers(before.serving) or 'none'}"):
                    _back(control, before)
        return answers

    answers = run(endpoint, trying)
    failed = [answer for answer in answers if answer.problem is not None]
    show_answers(answers, as_json)
    if failed:
        kept = "; the versions in service stay" if version is not None else ""
        say(f"{name}: {len(failed)} of {len(answers)} requests failed{kept}")
    elif promote:
        say(f"{name}: version {version} serves now")
    raise typer.Exit(1 if failed else 0)


def _back(control: Control, before: ModelStatus) -> None:
    if before.serving:
        control.load(before.name, before.serving)
    else:
        control.unload(before.name)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ServeError(f"{file} cannot be read: {why}", hint="--request names a file") from error
