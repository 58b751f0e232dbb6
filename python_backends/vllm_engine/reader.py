"""Reads one reply with vLLM's parsers: while its deltas arrive, or the calls of the whole text.

A parser that fails does not end the request: the rest of the reply is then content.
"""

from collections.abc import Sequence
from typing import Any

from python_backends.triton import Logger
from python_backends.vllm_engine.delta import Delta, End


class ParserReader:
    """Reads one completion with vLLM's parser. After a parser error the rest is passed through."""

    def __init__(
        self, parser: Any, request: Any, prompt_token_ids: Sequence[int], logger: Logger
    ) -> None:
        self._parser = parser
        self._request = request
        self._prompt = list(prompt_token_ids)
        self._logger = logger
        self._written: list[int] = []
        self._called = False
        self._broken = False
        self.unread = ""

    def read(self, text: str, token_ids: Sequence[int], *, end: End) -> Delta:
        if self._broken:
            return Delta(text)
        ids = list(token_ids)
        # only reasoning tokens are counted from them, so other replies do not keep their ids
        if self._parser.reasoning_parser is not None:
            self._written += ids
        self.unread += text
        try:
            piece = self._parse(text, ids, finished=end is End.NATURAL)
            if end is End.CUT:  # parsers now close what is open; the model wrote no such call
                last = self._parse("", [], finished=True)
                piece.text, piece.reasoning = (
                    piece.text + last.text,
                    piece.reasoning + last.reasoning,
                )
        except Exception as error:  # a parser's fault must not end the request
            self._logger.log_error(f"a reply cannot be parsed: {error!r}")
            self._broken, self.unread = True, ""
            return Delta(text)
        self._called = self._called or bool(piece.tool_calls)
        if piece.text or piece.reasoning or self._is_reasoning():
            self.unread = ""
        return piece

    def _parse(self, text: str, ids: list[int], *, finished: bool) -> Delta:
        was_reasoning = self._is_reasoning()
        delta = self._parser.parse_delta(
            text, ids, self._request, prompt_token_ids=self._prompt, finished=finished
        )
        if was_reasoning and not self._is_reasoning():
            self.unread = ""  # the mark that ends it
        return Delta() if delta is None else self._piece(delta)

    def _is_reasoning(self) -> bool:
        """Before the first token that is content."""
        state = self._parser._stream_state
        return self._parser.reasoning_parser is not None and not state.reasoning_ended

    def _piece(self, delta: Any) -> Delta:
        calls = [self._call(call) for call in delta.tool_calls or ()]
        if self._request.parallel_tool_calls is False:
            # the model may write more calls anyway; vLLM's own server drops them here, too
            calls = [call for call in calls if call["index"] == 0]
        return Delta(delta.content or "", delta.reasoning or "", calls)

    def _call(self, call: Any) -> dict[str, Any]:
        written: dict[str, Any] = {"index": call.index}
        if call.id is not None:
            written["id"] = call.id
        function = call.function
        if function is not None and function.name:
            written["name"] = function.name
        written["arguments"] = (function.arguments if function is not None else None) or ""
        return written

    def finish_reason(self, reason: str | None) -> str | None:
        """As in OpenAI's API: `stop` when the request named the function."""
        # vLLM's object for a named function; "auto", "required" and "none" are text
        named = not isinstance(self._request.tool_choice, str | None)
        return "tool_calls" if self._called and reason == "stop" and not named else reason

    def reasoning_tokens(self) -> int:
        if self._parser.reasoning_parser is None:
            return 0
        return int(self._parser.count_reasoning_tokens(tuple(self._written)))


def calls_of(parser: Any, request: Any, logger: Logger, text: str) -> list[dict[str, Any]] | None:
    """The calls in a complete text, one delta each; None if there are none."""
    try:
        extracted = parser.extract_tool_calls(text, request)
    except Exception as error:  # a parser's fault must not end the request
        logger.log_error(f"a reply cannot be parsed: {error!r}")
        return None
    if not extracted.tools_called:
        return None
    calls = [
        {
            "index": number,
            "id": call.id,
            "name": call.function.name,
            "arguments": call.function.arguments,
        }
        for number, call in enumerate(extracted.tool_calls)
    ]
    return calls[:1] if request.parallel_tool_calls is False else calls
