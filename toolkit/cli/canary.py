"""`toolkit models canary`: a real request to a model, or to a version that is not served yet."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.endpoint import Change, link_environments_of
from toolkit.cli.options import takes
from toolkit.cli.output import say
from toolkit.cli.status import numbers, show_answers
from toolkit.errors import ServeError, UsageError
from toolkit.progress import Progress

if TYPE_CHECKING:
    from toolkit.serve.canary import Answer
    from toolkit.serve.control import Control, ModelStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary(Change):
    """The command line of `toolkit models canary`."""

    version: Annotated[
        int | None, typer.Option(min=1, help="Load this version beside the running ones.")
    ] = None
    promote: Annotated[
        bool,
        typer.Option(
            "--promote", help="With --version: serve only this version if all requests succeed."
        ),
    ] = False
    request: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="JSON file with a request for Triton's HTTP API. Default: a small one.",
        ),
    ] = None
    count: Annotated[int, typer.Option(min=1, help="Number of requests.")] = 1


@takes(Canary)
def canary(options: Canary) -> None:
    """Send a model a real request; with --version, to a version that is not served yet.

    Afterwards everything is as before, unless --promote is given and all requests succeeded.
    Meanwhile, requests without a version get the highest that is loaded. Exit status: 0 all
    requests succeeded, 1 some failed.

    Examples:

        toolkit models canary all-minilm-l6-v2

        toolkit models canary my-model --version 2 --request ask.json --count 20 --promote
    """
    if options.promote and options.version is None:
        raise UsageError("--promote requires --version", hint="toolkit models canary --help")
    # before anything is loaded
    text = _read(options.request) if options.request is not None else None
    answers = options.run(lambda control, progress: _try(options, text, control, progress))
    failed = [answer for answer in answers if answer.problem is not None]
    show_answers(answers, options.as_json)
    if failed:
        kept = "; the served versions stay" if options.version is not None else ""
        say(f"{options.name}: {len(failed)} of {len(answers)} requests failed{kept}")
    elif options.promote:
        say(f"{options.name}: version {options.version} is served now")
    raise typer.Exit(1 if failed else 0)


def _try(
    options: Canary, text: str | None, control: "Control", progress: Progress
) -> list["Answer"]:
    """Loads the version if it is not served, sends the requests, and cleans up."""
    from toolkit.serve.canary import ask, read_request, request_for

    before = control.find(options.name)
    # the highest: requests without a version get that one
    version = options.version or max(before.serving, default=None)
    if version is None:
        raise ServeError(
            f"{options.name} is not loaded", hint=f"toolkit models load {options.name}"
        )
    served = before.served
    request = read_request(text) if text is not None else None
    loads = version not in before.serving
    if loads:
        link_environments_of(control, progress)
        with progress.step(f"load {options.name}, version {version}"):
            # with the running versions: a load replaces the list of versions
            served = control.load(options.name, [*before.serving, version]).served
    succeeded = False
    try:
        # of the loaded version: another version may have other inputs
        request = request or request_for(served)
        with progress.step(
            f"send requests to version {version}", total=options.count, unit="requests"
        ) as step:
            answers = []
            for _ in range(options.count):
                answers.append(ask(served, version, control.api, request, options.timeout_s))
                step.advance()
        succeeded = all(answer.problem is None for answer in answers)
    # also after Ctrl-C: the untried version must not stay
    finally:
        if options.promote and succeeded:
            with progress.step(f"serve only version {version}"):
                control.load(options.name, [version])
        # a version that was served before stays as it is
        elif loads:
            with progress.step(f"restore version {numbers(before.serving) or 'none'}"):
                _restore(control, before)
    return answers


def _restore(control: "Control", before: "ModelStatus") -> None:
    if before.serving:
        control.load(before.name, before.serving)
    else:
        control.unload(before.name)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(
            f"{file} cannot be read: {why}", hint="name a file with --request"
        ) from error
