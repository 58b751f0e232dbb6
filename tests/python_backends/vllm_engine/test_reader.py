"""What a reader returns for a reply that its parser understands, cuts short, or fails at."""

from types import SimpleNamespace
from typing import Any

from python_backends.vllm_engine.delta import End
from python_backends.vllm_engine.events import EventWriter
from python_backends.vllm_engine.reader import ParserReader
from python_backends.vllm_engine.vocabulary import Vocabulary

SILENT = SimpleNamespace(log_info=str, log_warn=str, log_error=str)


class FakeParser:
    """Takes `<call>` for the start of one call, `<think>…</think>` for reasoning.

    As vLLM's parsers it closes what is open when the reply has ended.
    """

    def __init__(self, *, reasons: bool = False) -> None:
        self.reasoning_parser = SimpleNamespace() if reasons else None
        self._stream_state = SimpleNamespace(reasoning_ended=not reasons)
        self._calling = False
        self.fails = False

    def parse_delta(
        self, text: str, _ids: list[int], _request: Any, *, prompt_token_ids: Any, finished: bool
    ) -> Any:
        if self.fails:
            raise ValueError("cannot read this")
        said = SimpleNamespace(content=None, reasoning=None, tool_calls=[])
        if not self._stream_state.reasoning_ended:
            if text == "</think>":
                self._stream_state.reasoning_ended = True
            else:
                said.reasoning = text
        elif text.startswith("<call>"):
            self._calling = True
        elif self._calling:
            end = '"}' if finished else ""
            function = SimpleNamespace(name="f", arguments=text + end)
            said.tool_calls = [SimpleNamespace(index=0, id="c", function=function)]
        else:
            said.content = text
        return said

    def count_reasoning_tokens(self, ids: Any) -> int:
        return len(ids)


def reader(parser: FakeParser, choice: Any = "auto") -> ParserReader:
    request = SimpleNamespace(tool_choice=choice, parallel_tool_calls=True)
    return ParserReader(parser, request, [], SILENT)


def test_a_cut_call_is_not_closed_by_its_parser() -> None:
    one = reader(FakeParser())
    assert one.read("so ", [1], end=End.NOT_YET).text == "so "
    one.read("<call>", [2], end=End.NOT_YET)
    piece = one.read('{"x": "', [3], end=End.CUT)
    assert [call["arguments"] for call in piece.tool_calls] == ['{"x": "']
    assert one.unread == '<call>{"x": "'


def test_a_reply_that_ended_by_itself_is_read_to_its_end() -> None:
    one = reader(FakeParser())
    one.read("<call>", [1], end=End.NOT_YET)
    piece = one.read('{"x": "y', [2], end=End.NATURAL)
    assert [call["arguments"] for call in piece.tool_calls] == ['{"x": "y"}']
    assert one.finish_reason("stop") == "tool_calls"


def test_what_was_told_is_not_unread() -> None:
    one = reader(FakeParser(reasons=True))
    for text in ("hm", "</think>", "blue"):
        one.read(text, [1], end=End.NOT_YET)
    assert one.unread == ""
    thinking = reader(FakeParser(reasons=True))
    thinking.read("hm", [1], end=End.NOT_YET)
    thinking.read("</think>", [1], end=End.CUT)
    assert thinking.unread == "", "the mark that ends reasoning is not an answer"


def test_a_reply_that_cannot_be_read_is_text() -> None:
    parser = FakeParser()
    one = reader(parser)
    parser.fails = True
    assert [one.read(text, [1], end=End.NOT_YET).text for text in "ab"] == ["a", "b"]
    assert one.unread == ""


def test_a_failed_completion_only_counts() -> None:
    vocabulary = Vocabulary(lambda _: "x", {}, False)
    writer = EventWriter(vocabulary, 3, 1, 0, [reader(FakeParser())])
    failed = SimpleNamespace(
        index=0, text="anything", token_ids=[1, 2], logprobs=None,
        finish_reason="error", stop_reason=None,
    )  # fmt: skip
    output = SimpleNamespace(
        prompt_token_ids=None, prompt_logprobs=None, num_cached_tokens=0, outputs=[failed]
    )
    (event,) = writer.write(output)
    assert (event["text"], event["token_ids"], event["finish_reason"]) == ("", [], "error")
    assert event["usage"]["completion_tokens"] == 2
