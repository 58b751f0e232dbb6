"""Holds tool calls of a reply back until each is complete.

A reply that ends early may cut its last call. A client would run it, or fail to parse it, so each
call is held back until its arguments are a JSON object; a call that stays incomplete becomes text.
Pure.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

from frontend.domain.events import Event

_OPENING, _CLOSING = frozenset("{["), frozenset("}]")


class CallBuffer:
    """Events of one generation, in order, with complete calls only.

    `as_said`: arguments of a call that was not cut may be any text.
    """

    def __init__(self, *, as_said: bool = False) -> None:
        self._as_said = as_said
        self._calls: dict[int, _Calls] = {}

    @property
    def has_odd(self) -> bool:
        """Whether a call was sent whose arguments are not a JSON object."""
        return any(calls.odd for calls in self._calls.values())

    def complete(self, event: Event) -> Event:
        """The event with the calls that are complete by now, each in one delta."""
        if not event.tool_calls and not event.unread and event.index not in self._calls:
            return event
        calls = self._calls.setdefault(event.index, _Calls(self._as_said))
        whole: list[dict[str, Any]] = []
        for delta in event.tool_calls or ():
            whole += calls.take(delta)
        if event.finish_reason is not None:
            whole += calls.finish(natural=_ended_itself(event))
            # all of it, where no call was read: the marks of the model's format may be what is cut
            event.text += (event.unread if not calls.count else "") or calls.unread
            event.partial_call = calls.cut or not calls.count
            # clients look for calls after this reason
            if event.finish_reason == "tool_calls" and not calls.count:
                event.finish_reason = "stop"
        event.tool_calls = whole or None
        return event


def _ended_itself(event: Event) -> bool:
    """Whether the model had finished: neither a limit nor a stop string cut it."""
    return event.finish_reason in ("stop", "tool_calls") and not isinstance(event.stop_reason, str)


@dataclass(slots=True)
class _Calls:
    """The calls of one completion: `count` were sent, one was `cut`: `unread` is its text."""

    as_said: bool
    count: int = 0
    cut: bool = False
    odd: bool = False
    """Whether one was sent whose arguments are not a JSON object."""
    unread: str = ""
    _open: "_Call | None" = None

    def take(self, delta: dict[str, Any]) -> list[dict[str, Any]]:
        whole: list[dict[str, Any]] = []
        if self._open is None or self._open.number != delta["index"]:
            # the next one has begun, so this one was not cut
            whole += self.finish(natural=True)
            self._open = _Call(delta["index"])
        if self.as_said and self._open.done and delta["arguments"].strip():
            # more after a whole object: the client gets all that the server sent
            self.odd = True
            return [{"index": self.count - 1, "arguments": delta["arguments"]}]
        self._open.add(delta)
        return [*whole, *self._hand_out()] if self._open.is_closed else whole

    def finish(self, *, natural: bool) -> list[dict[str, Any]]:
        """Ends the open call. `natural`: it was not cut, so missing arguments are empty."""
        call, whole = self._open, list[dict[str, Any]]()
        if call is not None and natural and call.name and not call.done:
            if not call.arguments.strip():
                call.pieces = ["{}"]
            elif self.as_said and not call.is_whole:
                self.odd = True
                whole = [self._made(call)]
            whole += self._hand_out()
        if self._open is not None and not self._open.done:
            self.cut = True
            self.unread += self._open.arguments
        self._open = None
        return whole

    def _hand_out(self) -> list[dict[str, Any]]:
        call = self._open
        if call is None or call.done or not call.is_whole:
            return []
        return [self._made(call)]

    def _made(self, call: "_Call") -> dict[str, Any]:
        call.done = True
        self.count += 1
        # numbered again: a call that was cut leaves a gap
        made = {"index": self.count - 1, "id": call.id, "name": call.name}
        return {**made, "arguments": call.arguments}


@dataclass(slots=True)
class _Call:
    number: int
    id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    done: bool = False
    _depth: int = 0
    _in_string: bool = False
    _escaped: bool = False

    def add(self, delta: dict[str, Any]) -> None:
        self.id = delta.get("id") or self.id
        self.name = delta.get("name") or self.name
        if self.done:  # blanks after the end; anything else would make it unreadable
            return
        self.pieces.append(delta["arguments"])
        for character in delta["arguments"]:
            self._see(character)

    def _see(self, character: str) -> None:
        if self._escaped:
            self._escaped = False
        elif self._in_string:
            self._escaped = character == "\\"
            self._in_string = character != '"'
        elif character == '"':
            self._in_string = True
        elif character in _OPENING:
            self._depth += 1
        elif character in _CLOSING:
            self._depth -= 1

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)

    @property
    def is_closed(self) -> bool:
        """Whether it may be whole: every bracket is closed."""
        return not self.done and self._depth == 0 and not self._in_string

    @property
    def is_whole(self) -> bool:
        try:
            return bool(self.name) and isinstance(orjson.loads(self.arguments), dict)
        except orjson.JSONDecodeError:
            return False
