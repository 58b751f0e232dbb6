"""The line editor: history with arrow keys, completion of commands, texts of several lines.

The only module that knows prompt_toolkit. The history is a file that only this user can read.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer
from prompt_toolkit.completion import Completion as Shown
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from toolkit.chat.completion import Completion

PROMPT, MORE = ">>> ", "... "
MARK = '"""'


class Editor:
    """Reads questions from a terminal."""

    def __init__(self, history: Path, complete: Callable[[str], list[Completion]]) -> None:
        """`complete` returns what Tab offers for the text before the cursor."""
        self._session: PromptSession[str] = PromptSession(
            history=_history(history),
            completer=_Completer(complete),
            complete_while_typing=False,
            # the names of models are asked for at the gateway
            complete_in_thread=True,
        )
        # answers to questions of the program are not questions to the model
        self._aside: PromptSession[str] = PromptSession(history=InMemoryHistory())

    def read(self) -> str:
        """The next question or command. Raises EOFError at the end, and KeyboardInterrupt after
        Ctrl-C."""
        text = self._session.prompt(PROMPT)
        if not text.lstrip().startswith(MARK):
            return text.strip()
        text = text.lstrip()[len(MARK) :]
        while MARK not in text:
            text += "\n" + self._session.prompt(MORE)
        return text.partition(MARK)[0].strip("\n")

    def ask(self, question: str) -> str:
        """An answer that is not kept in the history. Raises EOFError after Ctrl-D and
        KeyboardInterrupt after Ctrl-C."""
        return self._aside.prompt(question)


class _Completer(Completer):
    def __init__(self, complete: Callable[[str], list[Completion]]) -> None:
        self._complete = complete

    def get_completions(self, document: Document, _: CompleteEvent) -> Iterator[Shown]:
        for each in self._complete(document.text_before_cursor):
            yield Shown(each.text, start_position=-each.length)


def _history(file: Path) -> History:
    """In memory where the file cannot be written, as in a container."""
    with suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        file.chmod(0o600)
        return FileHistory(file)
    return InMemoryHistory()
