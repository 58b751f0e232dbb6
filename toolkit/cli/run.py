"""`toolkit run`: a chat in the terminal, or one answer for a pipe; starts a service if need be."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolkit.cli.complete import complete_runnable
from toolkit.cli.options import Json, takes
from toolkit.cli.output import has_color, print_error, print_json, say
from toolkit.errors import ToolkitError, UsageError

if TYPE_CHECKING:
    from toolkit.chat.client import Client, Model
    from toolkit.chat.conversation import Conversation
    from toolkit.chat.screen import Screen

_MOST_INPUT = 64 << 20


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of `toolkit run`."""

    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            autocompletion=complete_runnable,
            help="A served model; or one to serve: hf:ORG/NAME, a .gguf file, a Hugging Face "
            "directory or a name of `toolkit list-available`.",
        ),
    ]
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROMPT]...",
            help="Answer this and exit. Standard input, if it is not a terminal, follows it.",
        ),
    ] = None
    system: Annotated[str | None, typer.Option(help="The system prompt.")] = None
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="As /set in the chat: temperature=0, size=512x512."
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
        str | None, typer.Option(help="Address of a gateway elsewhere, instead of --port.")
    ] = None
    api_key: Annotated[
        str | None,
        typer.Option(envvar="TRITON_TOOLKIT_API_KEY", help="Key of the gateway, if it has keys."),
    ] = None
    context_length: Annotated[
        int | None,
        typer.Option(min=16, help="Tokens of prompt and answer, if the model is served first."),
    ] = None
    as_json: Json = False


@takes(Options)
def run(options: Options) -> None:
    """Chat with a model, or ask it one question.

    If no service has the model, one is started in the background and stays; `toolkit stop` ends it.
    An embedding model prints its vector, a rerank model scores the lines of standard input, an
    image model writes a file for each prompt. In a pipe standard output gets the answer alone. Exit
    status: 0 answered, 1 an error, 2 wrong use, 130 Ctrl-C.

    Examples:

        toolkit run smollm2-135m-instruct

        toolkit run smollm2-135m-instruct "Summarize:" < notes.txt

        toolkit run hf:Qwen/Qwen3-0.6B --set temperature=0 --json "What is 7 times 8?"

        toolkit run emoji "a red heart" --output heart.png
    """
    from toolkit.chat.client import Client
    from toolkit.chat.conversation import Conversation
    from toolkit.chat.screen import Screen
    from toolkit.cli.running import find_gateway

    # first: wrong settings must not start a service
    pairs = _pairs(options)
    if options.url is not None and options.port is not None:
        raise UsageError("--url and --port exclude each other", hint="give one of them")
    prompt = _prompt(options.words)
    # before a service is started for it
    if prompt is None and options.as_json:
        raise UsageError("--json requires a prompt", hint="a chat prints text only")
    url, name = options.url, options.model
    if url is None:
        url, name = find_gateway(name, options)
    terminal = sys.stdout.isatty()
    screen = Screen(sys.stdout, color=has_color(sys.stdout), terminal=terminal)
    with Client(url, options.api_key) as client:
        model = client.model(name)
        if model is None:
            raise _not_served(name, client)
        if model.kind == "llm":
            talk = Conversation(model.name, system=options.system or "")
            for name, value in pairs:
                talk.set(name, value)
            _talk(options, prompt, model, talk, client, screen)
        elif model.kind == "diffusion":
            _images(options, prompt, _image_fields(model.name, pairs), client, screen)
        elif pairs:
            raise UsageError(f"--set is not for models of kind '{model.kind}'", hint="omit it")
        else:
            _other(options, prompt, model, client)


def _pairs(options: Options) -> list[tuple[str, str]]:
    """What `--set` says. Raises UsageError for names that are not known."""
    from toolkit.chat.parameters import IMAGE_PARAMETERS, PARAMETERS, read_parameter

    pairs = []
    for text in options.setting or ():
        name, sign, value = text.partition("=")
        if not sign:
            raise UsageError(f"'{text}' is not NAME=VALUE", hint="as in --set temperature=0")
        name = name.strip()
        only_images = name in IMAGE_PARAMETERS and name not in PARAMETERS
        read_parameter(name, value, IMAGE_PARAMETERS if only_images else PARAMETERS)
        pairs.append((name, value))
    return pairs


def _image_fields(model: str, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    from toolkit.chat.parameters import IMAGE_PARAMETERS, read_parameter

    values = dict(read_parameter(name, value, IMAGE_PARAMETERS) for name, value in pairs)
    return {"model": model, **{name: one for name, one in values.items() if one is not None}}


def _images(
    options: Options, prompt: str | None, fields: dict[str, Any], client: "Client", screen: "Screen"
) -> None:
    """One image for the prompt, or for each prompt that a person types."""
    from toolkit.chat.image_session import ImageSession
    from toolkit.cli import answers
    from toolkit.home import home

    if prompt is not None:
        answers.write_image(client, {**fields, "prompt": prompt}, options.output, options.as_json)
        return
    if options.output is not None:
        raise UsageError("--output requires a prompt", hint="a session names each file")
    if not sys.stdout.isatty():
        raise UsageError("a session needs a terminal", hint="give a prompt")
    model = fields.pop("model")
    say(f"{model}: a prompt makes a file; /? lists the commands, Ctrl-D ends the session")
    ImageSession(client, model, screen, print_error, fields).run(home() / "chat")


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
                "there is no prompt, and standard input is empty", hint="give a prompt"
            )
    # an empty argument is most likely a shell variable that is not set
    elif words is not None and not text.strip():
        raise UsageError("the prompt is empty", hint="without a prompt, a chat begins")
    return text or None


def _not_served(name: str, client: "Client") -> ToolkitError:
    from toolkit.errors import ServeError
    from toolkit.names import close_matches

    served = [model.name for model in client.models()]
    near = close_matches(name, served)
    hint = f"did you mean {near[0]}?" if near else f"served: {', '.join(served)}"
    return ServeError(f"{client.url} does not serve '{name}'", hint=hint)


def _talk(
    options: Options,
    prompt: str | None,
    model: "Model",
    talk: "Conversation",
    client: "Client",
    screen: "Screen",
) -> None:
    from toolkit.chat.conversation import read_tools
    from toolkit.chat.session import Session
    from toolkit.home import home

    # without a template messages cannot become a prompt
    if "chat" not in model.capabilities:
        raise UsageError(
            f"{model.name} has no chat template, so it only completes texts",
            hint="POST /v1/completions",
        )
    session = Session(client, model, talk, screen, print_error, options.verbose)
    session.attach(options.image or [])
    if options.tools is not None:
        session.use_tools(read_tools(options.tools))
    if prompt is not None:
        talk.ask(prompt)
        _answer_once(options, talk, client, screen)
        return
    # prompts of a chat would be mixed into the pipe
    if not sys.stdout.isatty():
        raise UsageError("a chat needs a terminal", hint="give a prompt")
    say(f"{model.name}: /? lists the commands, Ctrl-D ends the chat")
    session.run(home() / "chat")


def _answer_once(
    options: Options, talk: "Conversation", client: "Client", screen: "Screen"
) -> None:
    from toolkit.chat.answering import answer_question

    answer, rates = answer_question(client, talk, None if options.as_json else screen)
    if options.as_json:
        calls = [call["function"] | {"id": call["id"]} for call in answer.calls]
        print_json(
            {
                "model": talk.model,
                "text": answer.text,
                "reasoning": answer.reasoning or None,
                "tool_calls": calls,
                "finish_reason": answer.finish_reason,
                "usage": answer.usage,
                "rates": rates.as_json(),
            }
        )
    elif options.verbose:
        for line in rates.lines():
            say(line)


def _other(options: Options, prompt: str | None, model: "Model", client: "Client") -> None:
    """An embedding or rerank model."""
    from toolkit.cli import answers

    if prompt is None:
        raise UsageError(
            f"{model.name} ({model.kind}) requires a text",
            hint=f"toolkit run {options.model} TEXT",
        )
    match model.kind:
        case "embedding":
            answers.print_vector(client.embed(model.name, prompt), model.name, options.as_json)
        case "rerank":
            answers.print_scores(
                client, model.name, " ".join(options.words or ()), prompt, options.as_json
            )
        case kind:
            raise UsageError(
                f"`toolkit run` does not know models of kind '{kind}'",
                hint="send requests to Triton itself",
            )
