"""The command line of `toolkit run`, and which of its options belong together.

These checks do not need a service. `check_kind` refuses options that the model would ignore.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.complete import complete_runnable
from toolkit.cli.options import Json
from toolkit.contract import INTERFACES
from toolkit.errors import UsageError

_MOST_INPUT = 64 << 20
_CHATS, _IMAGES = ("text",), ("images",)
_ANSWERS = {
    "--system": _CHATS,
    "--image": _CHATS,
    "--tools": _CHATS,
    "--verbose": _CHATS,
    "--set": (*_CHATS, *_IMAGES),
    "--output": _IMAGES,
}
"""What models answer that take an option (`Interface.answer`); the other options are for all."""


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of `toolkit run`."""

    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            autocompletion=complete_runnable,
            help="A served model, or a model to serve: hf:ORG/NAME, a .gguf file, a Hugging "
            "Face directory or a name of `toolkit list-available`.",
        ),
    ]
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROMPT]...",
            help="Answer this prompt and exit. Standard input, if it is not a terminal, is"
            " appended to it.",
        ),
    ] = None
    system: Annotated[str | None, typer.Option(help="The system prompt.")] = None
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Set a parameter as with /set in the chat: temperature=0, size=512x512.",
        ),
    ] = None
    image: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="An image for the prompt; may be repeated."),
    ] = None
    tools: Annotated[
        Path | None, typer.Option(help="JSON file with the tools that the model may call.")
    ] = None
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Image models: the file to write."),
    ] = None
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print times and tokens per second.")
    ] = False
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of one of your services. Default: any."),
    ] = None
    url: Annotated[
        str | None, typer.Option(help="Address of another gateway, instead of --port.")
    ] = None
    api_key: Annotated[
        str | None,
        typer.Option(envvar="TRITON_TOOLKIT_API_KEY", help="Key of the gateway, if it has keys."),
    ] = None
    context_length: Annotated[
        int | None,
        typer.Option(
            min=16,
            max=100_000_000,
            help="Context length in tokens, if this command starts the service.",
        ),
    ] = None
    as_json: Json = False


def read_pairs(options: Options) -> list[tuple[str, str]]:
    """The parameters of `--set`. Raises UsageError for unknown names."""
    from toolkit.chat.parameters import IMAGE_PARAMETERS, PARAMETERS, read_parameter

    pairs = []
    for text in options.setting or ():
        name, sign, value = text.partition("=")
        if not sign:
            raise UsageError(f"'{text}' is not NAME=VALUE", hint="for example --set temperature=0")
        name = name.strip()
        only_images = name in IMAGE_PARAMETERS and name not in PARAMETERS
        read_parameter(name, value, IMAGE_PARAMETERS if only_images else PARAMETERS)
        pairs.append((name, value))
    return pairs


def check_files(options: Options) -> None:
    """Raises UsageError for options that cannot be combined, and for files that cannot be used."""
    from toolkit.chat.conversation import read_tools
    from toolkit.chat.images import data_url

    if options.url is not None and options.port is not None:
        raise UsageError("--url and --port cannot be combined", hint="pass one of them")
    if options.url is not None and not re.fullmatch(r"https?://[^/\s]+\S*", options.url):
        raise UsageError(
            f"--url '{options.url}' is not the address of a gateway",
            hint="write it as http://HOST:PORT",
        )
    if options.context_length is not None and (options.url or options.port):
        raise UsageError(
            "--context-length is for a model that is not served yet",
            hint="omit it, or omit --url and --port",
        )
    for path in options.image or ():
        data_url(path)
    if options.tools is not None:
        read_tools(options.tools)
    # before the image is made, which may take a minute
    if (output := options.output) is not None:
        if not output.absolute().parent.is_dir():
            raise UsageError(
                f"the folder {output.absolute().parent} does not exist", hint="create it first"
            )
        if output.is_dir():
            raise UsageError(f"{output} is a folder", hint="name a file in it")


def check_kind(options: Options, model: str, kind: str) -> None:
    """Raises UsageError for an option that models of that kind would ignore."""
    values = {
        "--system": options.system,
        "--image": options.image,
        "--tools": options.tools,
        "--verbose": options.verbose,
        "--set": options.setting,
        "--output": options.output,
    }
    for name, answers in _ANSWERS.items():
        kinds = [known for known, each in INTERFACES.items() if each.answer in answers]
        # an empty system prompt is a value
        if values[name] not in (None, False, []) and kind not in kinds:
            raise UsageError(
                f"{name} is not for {model}, a model of kind '{kind}'",
                hint=f"omit it; models of kind {' and '.join(kinds)} accept it",
            )


def read_prompt(options: Options) -> str | None:
    """The prompt of the command line and of standard input; None for a chat. Raises UsageError if
    an option requires a prompt, or a chat has no terminal."""
    prompt = _prompt(options.words)
    if prompt is not None:
        return prompt
    if options.as_json:
        raise UsageError("--json requires a prompt", hint="a chat prints only text")
    if options.output is not None:
        raise UsageError(
            "--output requires a prompt", hint="a session chooses the name of each file"
        )
    # prompts of a chat would be mixed into the pipe
    if not sys.stdout.isatty():
        raise UsageError("a chat needs a terminal", hint="pass a prompt")
    return None


def _prompt(words: list[str] | None) -> str | None:
    """The words, and what standard input has if it is not a terminal; None for a chat."""
    text = " ".join(words or ())
    if not sys.stdin.isatty():
        try:
            # one more than allowed shows that there is more, without reading all of it
            piped = sys.stdin.read(_MOST_INPUT + 1)
        except UnicodeDecodeError as error:
            raise UsageError(
                "standard input is not UTF-8 text", hint="attach images with --image"
            ) from error
        if len(piped) > _MOST_INPUT:
            raise UsageError("standard input has more than 64 MiB of text", hint="send less")
        text = "\n\n".join(part for part in (text, piped.strip()) if part)
        if not text:
            raise UsageError(
                "there is no prompt, and standard input is empty", hint="pass a prompt"
            )
    # an empty argument is most likely a shell variable that is not set
    elif words is not None and not text.strip():
        raise UsageError(
            "the prompt is empty", hint="pass a text, or omit the prompt to start a chat"
        )
    return text or None
