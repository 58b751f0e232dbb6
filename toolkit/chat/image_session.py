"""A session with an image model: reads a prompt, writes a file and shows its path, until the end.

Ctrl-C stops an image and never the program; every error is printed and the session continues.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.chat.client import Client
from toolkit.chat.completion import Argument, Completion, complete
from toolkit.chat.editor import Editor
from toolkit.chat.images import new_file
from toolkit.chat.parameters import DEFAULT, IMAGE_PARAMETERS, read_parameter
from toolkit.chat.paths import file_error
from toolkit.chat.screen import Screen
from toolkit.errors import ToolkitError, UsageError
from toolkit.names import nearest

_HISTORY = "images"
_END = "Ctrl-D or /bye ends the session"
_COMMANDS = {
    "/set": "[NAME VALUE]   set a parameter; without arguments: list them",
    "/show": "               the parameters in use",
    "/help": "               this list; also /?",
    "/bye": "               end; also /exit",
}
_SHORT = {"/?": "/help", "/exit": "/bye", "/quit": "/bye"}


@dataclass(slots=True)
class ImageSession:
    """`report` prints an error; `parameters` are those of each request."""

    client: Client
    model: str
    screen: Screen
    report: Callable[[ToolkitError], None]
    parameters: dict[str, Any] = field(default_factory=dict)

    def run(self, folder: Path) -> None:
        """Until `/bye` or Ctrl-D; the history of prompts is kept in `folder`."""
        editor = Editor(folder / _HISTORY, _complete)
        while True:
            try:
                line = editor.read()
                if _SHORT.get(line, line) == "/bye":
                    return
                if line.strip():
                    self.take(line)
            except KeyboardInterrupt:
                self.screen.line(_END)
            except EOFError:
                return
            except ToolkitError as error:
                self.report(error)
            except OSError as error:
                self.report(file_error(error))

    def take(self, line: str) -> None:
        """Runs one command or prompt. Raises ToolkitError if the command is not known or the
        service fails."""
        if not line.startswith("/"):
            self._make(line)
            return
        word, _, rest = line.partition(" ")
        match _SHORT.get(word, word):
            case "/help":
                for name, about in _COMMANDS.items():
                    self.screen.line(f"  {name} {about}")
            case "/show":
                self._show()
            case "/set":
                self._set(rest.strip())
            case other:
                raise UsageError(f"there is no command '{other}'", hint=nearest(other, _COMMANDS))

    def _make(self, prompt: str) -> None:
        self.screen.remark("generating … Ctrl-C stops it")
        try:
            (image,) = self.client.draw(
                {"model": self.model, "prompt": prompt, "n": 1, **self.parameters}
            )
        except KeyboardInterrupt:
            self.screen.remark("stopped; no file was written")
            return
        path = new_file(prompt)
        path.write_bytes(image)
        self.screen.line(str(path))

    def _show(self) -> None:
        for name, value in self.parameters.items():
            self.screen.line(f"  {name:16} {value}")
        if not self.parameters:
            self.screen.line("the model's defaults; /set changes them")

    def _set(self, rest: str) -> None:
        name, _, text = rest.partition(" ")
        if not name:
            for each, parameter in IMAGE_PARAMETERS.items():
                self.screen.line(f"  /set {each:16} {parameter.about}")
            self.screen.line(f"  /set NAME {DEFAULT:11} reset it to the model's default")
            return
        if text:
            name, value = read_parameter(name, text, IMAGE_PARAMETERS)
            self.parameters.pop(name, None)
            if value is not None:
                self.parameters[name] = value
        elif name not in IMAGE_PARAMETERS:
            raise UsageError(
                f"there is no parameter '{name}'", hint=nearest(name, IMAGE_PARAMETERS)
            )
        value = self.parameters.get(name, "the model's default")
        self.screen.line(f"{name}: {value}")


def _complete(line: str) -> list[Completion]:
    arguments = {name: Argument() for name in _COMMANDS}
    arguments["/set"] = Argument(lambda: IMAGE_PARAMETERS, lambda _: (DEFAULT,))
    return complete(line, arguments)
