"""Collects answers that must match a schema. Pure."""

from dataclasses import dataclass, field

from frontend.domain.events import Event
from frontend.domain.structure import Expected, SchemaUse
from frontend.errors import BackendFailed


class InvalidAnswer(BackendFailed):
    """A finished answer that does not match its schema; `text` is all of it."""

    def __init__(self, use: SchemaUse, text: str, problem: str) -> None:
        what = f"arguments for '{use.tool}' do" if use.tool else "answer does"
        super().__init__(
            f"the model's {what} not match '{use.path}': {problem}",
            param=use.path,
            code="invalid_structured_output",
        )
        self.text = text
        self.problem = problem


@dataclass(slots=True)
class Answer:
    """The part of one completion that has arrived."""

    _texts: list[str] = field(default_factory=list)
    _calls: dict[int, tuple[list[str], list[str]]] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Adds the completion's next event."""
        self._texts.append(event.text)
        for delta in event.tool_calls or ():
            names, pieces = self._calls.setdefault(delta["index"], ([], []))
            names.append(delta.get("name") or "")
            pieces.append(delta["arguments"])

    def jobs(self, expected: tuple[Expected, ...]) -> list[tuple[Expected, str]]:
        """The texts to check: the calls' arguments, or else the content."""
        # a reply with calls does not have an answer to check (docs/decisions/0013)
        if not self._calls:
            text = "".join(self._texts)
            return [(one, text) for one in expected if one.use.tool is None]
        by_name = {one.use.tool: one for one in expected if one.use.tool is not None}
        calls = [("".join(names), "".join(pieces)) for names, pieces in self._calls.values()]
        return [(by_name[name], text or "{}") for name, text in calls if name in by_name]
