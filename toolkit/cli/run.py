"""`toolkit run`: a chat in the terminal, or one answer for a pipe; starts a service if need be."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.cli.options import takes
from toolkit.cli.output import has_color, print_error, print_json, say
from toolkit.cli.run_options import Options, check_files, check_kind, read_pairs, read_prompt
from toolkit.contract import INTERFACES
from toolkit.errors import ToolkitError, UsageError

if TYPE_CHECKING:
    from toolkit.chat.client import Client, Model
    from toolkit.chat.conversation import Conversation
    from toolkit.chat.screen import Screen


@dataclass(frozen=True, slots=True)
class _Run:
    """The command with its parts read, and the model that answers. Without a prompt a person types
    one after the other."""

    options: Options
    prompt: str | None
    pairs: list[tuple[str, str]]
    model: "Model"
    client: "Client"
    screen: "Screen"


@takes(Options)
def run(options: Options) -> None:
    """Chat with a model, or ask it one question.

    If no service has the model, one is started in the background and stays; `toolkit stop` ends it.
    An embedding model prints its vector, a rerank model scores the lines of standard input, an
    image model writes a file for each prompt. In a pipe standard output gets only the answer. Exit
    status: 0 answered, 1 an error, 2 wrong use, 130 Ctrl-C, 143 SIGTERM.

    Examples:

        toolkit run smollm2-135m-instruct

        toolkit run smollm2-135m-instruct "Summarize:" < notes.txt

        toolkit run hf:Qwen/Qwen3-0.6B --set temperature=0 --json "What is 7 times 8?"

        toolkit run emoji "a red heart" --output heart.png
    """
    from toolkit.chat.client import Client
    from toolkit.chat.screen import Screen
    from toolkit.cli.running import find_gateway

    # first: what is wrong must not start a service
    pairs = read_pairs(options)
    check_files(options)
    prompt = read_prompt(options)
    url, name = options.url, options.model
    if url is None:
        url, name = find_gateway(name, options)
    terminal = sys.stdout.isatty()
    screen = Screen(sys.stdout, color=has_color(sys.stdout), terminal=terminal)
    with Client(url, options.api_key) as client:
        model = client.model(name)
        if model is None:
            raise _not_served(name, client)
        check_kind(options, model.name, model.kind)
        interface = INTERFACES.get(model.kind)
        if interface is None:
            raise UsageError(
                f"`toolkit run` does not support models of kind '{model.kind}'",
                hint="send requests to Triton itself",
            )
        _ANSWERS[interface.answer](_Run(options, prompt, pairs, model, client, screen))


def _images(run: _Run) -> None:
    """One image for the prompt, or for each prompt that a person types."""
    from toolkit.chat.image_session import ImageSession
    from toolkit.chat.parameters import IMAGE_PARAMETERS, read_parameter
    from toolkit.cli import answers
    from toolkit.home import home

    name, options = run.model.name, run.options
    values = dict(read_parameter(name, value, IMAGE_PARAMETERS) for name, value in run.pairs)
    fields = {name: one for name, one in values.items() if one is not None}
    if run.prompt is not None:
        body = {"model": name, **fields, "prompt": run.prompt}
        answers.write_image(run.client, body, options.output, options.as_json)
        return
    say(
        f"{name}: each prompt generates an image file; /? lists the commands, Ctrl-D ends the"
        " session"
    )
    ImageSession(run.client, name, run.screen, print_error, fields).run(home() / "chat")


def _not_served(name: str, client: "Client") -> ToolkitError:
    from toolkit.errors import ServeError
    from toolkit.names import close_models

    models = client.models()
    served = [model.name for model in models]
    aliases = [alias for model in models for alias in model.about.get("aliases") or ()]
    near = close_models(name, [*served, *aliases], 1)
    hint = f"did you mean {near[0]}?" if near else f"served: {', '.join(served)}"
    return ServeError(f"{client.url} does not serve '{name}'", hint=hint)


def _talk(run: _Run) -> None:
    """One answer to the prompt, or a chat."""
    from toolkit.chat.conversation import Conversation, read_tools
    from toolkit.chat.session import Session
    from toolkit.home import home

    model, options = run.model, run.options
    talk = Conversation(model.name, system=options.system or "")
    for name, value in run.pairs:
        talk.set(name, value)
    # without a template messages cannot become a prompt
    if "chat" not in model.capabilities:
        raise UsageError(
            f"{model.name} does not have a chat template, so it only completes texts",
            hint="POST /v1/completions",
        )
    session = Session(run.client, model, talk, run.screen, print_error, options.verbose)
    session.attach(options.image or [])
    if options.tools is not None:
        session.use_tools(read_tools(options.tools))
    if run.prompt is not None:
        talk.ask(run.prompt)
        _answer_once(options, talk, run.client, run.screen)
        return
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


def _vector(run: _Run) -> None:
    from toolkit.cli import answers

    name = run.model.name
    vector = run.client.embed(name, _text(run))
    answers.print_vector(vector, name, run.options.as_json)


def _scores(run: _Run) -> None:
    from toolkit.cli import answers

    query, text = " ".join(run.options.words or ()), _text(run)
    answers.print_scores(run.client, run.model.name, query, text, run.options.as_json)


def _text(run: _Run) -> str:
    """The prompt. Raises UsageError without one."""
    if run.prompt is None:
        raise UsageError(
            f"{run.model.name} ({run.model.kind}) requires a text",
            hint=f"toolkit run {run.options.model} TEXT",
        )
    return run.prompt


_ANSWERS: dict[str, Callable[[_Run], None]] = {
    "text": _talk,
    "images": _images,
    "vector": _vector,
    "scores": _scores,
}
"""What to do with a model, by what it answers with (`Interface.answer`)."""
