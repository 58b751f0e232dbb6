"""The loop of a chat: reads a line, runs it as a command or sends it to the model.

Ctrl-C stops an answer and never the program; every error is printed and the chat continues.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.chat.answering import answer_question
from toolkit.chat.client import CONTEXT, Client, Model, RefusedError
from toolkit.chat.commands import EndSession, argument_words, run_command
from toolkit.chat.completion import complete
from toolkit.chat.conversation import Conversation
from toolkit.chat.editor import Editor
from toolkit.chat.images import data_url, take_images
from toolkit.chat.paths import exists, file_error
from toolkit.chat.screen import Screen
from toolkit.errors import ToolkitError, UsageError

_HISTORY = "history"
_END = "Ctrl-D or /bye ends the chat"


@dataclass(slots=True)
class Session:
    """A chat with one model. `report` prints an error."""

    client: Client
    model: Model
    talk: Conversation
    screen: Screen
    report: Callable[[ToolkitError], None]
    verbose: bool = False

    def run(self, folder: Path) -> None:
        """Chats until `/bye` or Ctrl-D; the history of questions is kept in `folder`."""
        arguments = argument_words(self.client)
        editor = Editor(folder / _HISTORY, lambda line: complete(line, arguments))
        while True:
            try:
                if (line := editor.read()).strip():
                    self.take(line, editor.ask)
            except KeyboardInterrupt:
                self.screen.line(_END)
            except (EOFError, EndSession):
                return
            except ToolkitError as error:
                self.report(error)
            except OSError as error:
                self.report(file_error(error))

    def take(self, line: str, ask: Callable[[str], str]) -> None:
        """Runs one command or question. `ask` asks the person for the result of a tool."""
        word = line.split(maxsplit=1)[0]
        if line.startswith("/") and not ("/" in word[1:] or exists(Path(word))):
            run_command(self, line)
            return
        text, paths = take_images(line)
        self.attach(paths)
        self.talk.ask(text)
        self._answer(ask)

    def attach(self, paths: list[Path]) -> None:
        """Sends images with the next question. Raises UsageError if the model does not accept
        images or a file is not one."""
        if paths and "vision" not in self.model.capabilities:
            raise UsageError(
                f"{self.model.name} does not accept images",
                hint="toolkit list-available images",
            )
        urls = [data_url(path) for path in paths]
        self.talk.images += urls
        for path in paths:
            self.screen.remark(f"attached {path}")

    def use_tools(self, tools: list[dict[str, Any]]) -> None:
        """Lets the model call tools. Raises UsageError if the model cannot call tools."""
        if "tools" not in self.model.capabilities:
            raise UsageError(f"{self.model.name} does not call tools", hint="choose another model")
        self.talk.tools = tools

    def _answer(self, ask: Callable[[str], str]) -> None:
        """Asks, and again with the results of tools for as long as the model calls them."""
        count = len(self.talk.messages)
        while True:
            try:
                answer, rates = answer_question(self.client, self.talk, self.screen)
            except KeyboardInterrupt:
                return
            except RefusedError as error:
                if error.code == CONTEXT:
                    error.hint = "/clear begins a new conversation"
                raise
            if self.verbose:
                for line in rates.lines():
                    self.screen.remark(line)
            if not answer.calls:
                return
            try:
                self._add_results(answer.calls, ask)
            except (KeyboardInterrupt, EOFError):
                del self.talk.messages[count - 1 :]
                self.screen.remark("the question was removed from the conversation")
                return

    def _add_results(self, calls: list[dict[str, Any]], ask: Callable[[str], str]) -> None:
        for call in calls:
            result = ask(f"result of {call['function']['name']}: ")
            message = {"role": "tool", "tool_call_id": call["id"], "content": result}
            self.talk.messages.append(message)
