"""The commands of a chat, which begin with `/`. Each is one function.

They print to the session's screen and change its conversation; they do not send requests to the
model.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.chat.completion import Argument
from toolkit.chat.conversation import read_tools
from toolkit.chat.parameters import DEFAULT, PARAMETERS
from toolkit.chat.paths import expand
from toolkit.errors import ServeError, ToolkitError, UsageError
from toolkit.names import nearest

if TYPE_CHECKING:
    from toolkit.chat.client import Client
    from toolkit.chat.session import Session


class EndSession(Exception):
    """Ends the session: the command `/bye`."""


@dataclass(frozen=True, slots=True)
class Command:
    """`usage` is its arguments, `run` gets the text behind its name."""

    usage: str
    about: str
    run: Callable[["Session", str], None]


def run_command(session: "Session", line: str) -> None:
    """Raises UsageError for what is not a command, EndSession at the end."""
    name, _, rest = line.partition(" ")
    name = _SHORT.get(name.lower(), name.lower())
    if name not in COMMANDS:
        raise UsageError(f"there is no command '{name}'", hint=nearest(name, COMMANDS))
    COMMANDS[name].run(session, rest.strip())


def _help(session: "Session", _rest: str) -> None:
    width = max(len(f"{name} {each.usage}") for name, each in COMMANDS.items())
    for name, each in COMMANDS.items():
        session.screen.line(f"  {f'{name} {each.usage}':{width}}  {each.about}")
    session.screen.line("")
    session.screen.line('  """ begins and ends a text of several lines. A path of an image in a')
    session.screen.line(
        "  question attaches the image. Ctrl-C stops an answer, Ctrl-D ends the chat."
    )


def _set(session: "Session", rest: str) -> None:
    name, _, value = rest.removeprefix("parameter ").strip().partition(" ")
    match name:
        case "":
            for each, parameter in PARAMETERS.items():
                session.screen.line(f"  /set {each:20} {parameter.about}")
            for usage, about in _SWITCHES.items():
                session.screen.line(f"  /set {usage:20} {about}")
        case "verbose" | "quiet":
            session.verbose = name == "verbose"
            session.screen.line(f"rates are {'printed' if session.verbose else 'not printed'}")
        case "history" | "nohistory":
            session.talk.remembers = name == "history"
            session.screen.line(
                "questions are sent with the conversation so far"
                if session.talk.remembers
                else "each question is sent without the conversation so far"
            )
        case "system":
            _system(session, value)
        case "think" | "nothink" if not value:
            _report(session, session.talk.set("think", "true" if name == "think" else "false"))
        case "noformat":
            _report(session, session.talk.set("format", DEFAULT))
        case _ if not value:
            _report(session, name)
        case _:
            _report(session, session.talk.set(name, value))


def _report(session: "Session", name: str) -> None:
    if name not in PARAMETERS:
        raise UsageError(f"there is no parameter '{name}'", hint=nearest(name, PARAMETERS))
    value = session.talk.parameters.get(name, "the model's default")
    session.screen.line(f"{name}: {value}")


def _system(session: "Session", rest: str) -> None:
    if rest:
        session.talk.system = _unquoted(rest)
    session.screen.line(f"system: {session.talk.system or '(none)'}")


def _show(session: "Session", rest: str) -> None:
    match rest or "info":
        case "info":
            for name, value in session.model.about.items():
                if name not in ("object", "created"):
                    text = ", ".join(map(str, value)) if isinstance(value, list) else value
                    session.screen.line(f"  {name:16} {text}")
        case "parameters":
            for name, value in session.talk.parameters.items():
                session.screen.line(f"  {name:20} {value}")
            if not session.talk.parameters:
                session.screen.line("the model's defaults; /set changes them")
        case "system":
            _system(session, "")
        case "messages":
            for message in session.talk.messages:
                session.screen.line(f"{message['role']}: {_text_of(message)}")
        case other:
            raise UsageError(f"'/show {other}' does not exist", hint=nearest(other, _SHOWN))


def _text_of(message: dict[str, object]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        parts = [str(part.get("text", "(image)")) for part in content if isinstance(part, dict)]
        return " ".join(parts)
    return str(content or message.get("tool_calls") or "")


def _model(session: "Session", rest: str) -> None:
    if rest:
        model = session.client.model(rest)
        if model is None:
            raise ServeError(
                f"'{rest}' is not served", hint=nearest(rest, names_of(session.client))
            )
        if "chat" not in model.capabilities:
            raise UsageError(f"{model.name} ({model.kind}) cannot chat", hint="/model NAME")
        session.model, session.talk.model = model, model.name
    session.screen.line(f"model: {session.talk.model}")


def names_of(client: "Client") -> list[str]:
    """The models that chat; none while the gateway does not answer."""
    try:
        return [model.name for model in client.models() if "chat" in model.capabilities]
    except ToolkitError:
        return []


def argument_words(client: "Client") -> dict[str, Argument]:
    """The words that Tab offers after each command."""
    values = {"think": ("true", "false", "low", "medium", "high"), "format": ("json",)}
    settings = (
        *PARAMETERS, "system", "noformat", "nothink", "verbose", "quiet", "history", "nohistory",
    )  # fmt: skip

    def behind(name: str) -> tuple[str, ...]:
        return (*values.get(name, ()), DEFAULT) if name in PARAMETERS else ()

    found = {
        "/set": Argument(lambda: settings, behind),
        "/show": Argument(lambda: _SHOWN),
        "/model": Argument(lambda: names_of(client)),
        "/tools": Argument(lambda: ("none",), files=True),
        "/image": Argument(files=True),
        "/save": Argument(files=True),
        "/load": Argument(files=True),
    }
    return {name: found.get(name, Argument()) for name in COMMANDS}


def _clear(session: "Session", _rest: str) -> None:
    session.talk.messages.clear()
    session.talk.images.clear()
    session.screen.line("the conversation is empty")


def _image(session: "Session", rest: str) -> None:
    try:
        paths = [expand(word) for word in shlex.split(rest)]
    except ValueError as error:
        raise UsageError(f"{rest}: {error}", hint="quote the whole path, or write \\'") from error
    if not paths:
        raise UsageError("/image requires a path", hint="/image photo.jpg, then the question")
    session.attach(paths)


def _tools(session: "Session", rest: str) -> None:
    if rest == "none":
        session.talk.tools = []
    elif rest:
        session.use_tools(read_tools(Path(rest)))
    names = [str(each["function"].get("name")) for each in session.talk.tools]
    session.screen.line(f"tools: {', '.join(names) or '(none)'}")


def _save(session: "Session", rest: str) -> None:
    path = _path(rest, "/save")
    session.talk.save(path)
    session.screen.line(f"saved in {path}")


def _load(session: "Session", rest: str) -> None:
    session.talk.load(_path(rest, "/load"))
    session.screen.line(f"{len(session.talk.messages)} messages")


def _path(rest: str, command: str) -> Path:
    if not rest:
        raise UsageError(f"{command} requires a file", hint=f"{command} chat.json")
    return expand(_unquoted(rest))


def _bye(_session: "Session", _rest: str) -> None:
    raise EndSession


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] in "\"'" else text


COMMANDS = {
    "/set": Command("[NAME VALUE]", "set a parameter; without arguments: list them", _set),
    "/show": Command(
        "[info|parameters|system|messages]",
        "show the model, the parameters or the system prompt in use",
        _show,
    ),
    "/model": Command("[NAME]", "continue with another served model", _model),
    "/system": Command("[TEXT]", "set or show the system prompt", _system),
    "/image": Command("PATH...", "attach images to the next question", _image),
    "/tools": Command("[FILE|none]", "tools that the model may call: a JSON file", _tools),
    "/clear": Command("", "forget the conversation", _clear),
    "/save": Command("FILE", "write the conversation to a file", _save),
    "/load": Command("FILE", "continue with a saved conversation", _load),
    "/help": Command("", "this list; also /?", _help),
    "/bye": Command("", "end; also /exit", _bye),
}
_SWITCHES = {
    f"NAME {DEFAULT}": "reset it to the model's default",
    "verbose | quiet": "print rates after each answer, or not",
    "history | nohistory": "whether earlier questions are sent",
}
_SHOWN = ("info", "parameters", "system", "messages")
_SHORT = {"/?": "/help", "/exit": "/bye", "/quit": "/bye"}
