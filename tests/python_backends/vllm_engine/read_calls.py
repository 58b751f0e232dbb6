"""A program for the engine's environment: reads transcripts of calls as the engine step does.

A scripted engine tells each transcript in every way in which it may be cut into steps; vLLM's
parsers and the step's event writer read it. Prints, as JSON, what was read otherwise than it is
meant. The environment's Python runs it, with the transcripts' files as arguments.
"""

import codecs
import itertools
import json
import random
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from python_backends.templates import Parsers
from python_backends.vllm_engine.events import EventWriter
from python_backends.vllm_engine.parsers import ReplyParsers
from python_backends.vllm_engine.vocabulary import Vocabulary
from tests.support.weights import write_chat_tokenizer

TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", **schema}}}
    for name, schema in {
        "get_weather": {
            "properties": {"city": {"type": "string"}, "unit": {"type": "string"}},
            "required": ["city"],
        },
        "get_time": {"properties": {"zone": {"type": "string"}}},
        "list_files": {"properties": {}},
        "write": {"properties": {"text": {"type": "string"}}},
        "search": {
            "properties": {
                "filters": {"type": "object"},
                "exact": {"type": "boolean"},
                "page": {"type": ["integer", "null"]},
            }
        },
    }.items()
]
MOST_SHOWN = 5  # per transcript


@dataclass
class Part:
    """vLLM's delta of one completion."""

    text: str
    token_ids: Sequence[int]
    finish_reason: str | None = None
    index: int = 0
    logprobs: None = None
    stop_reason: None = None


@dataclass
class Output:
    """What an engine tells after a step."""

    outputs: list[Part]
    prompt_token_ids: Sequence[int] | None = None
    prompt_logprobs: None = None
    num_cached_tokens: int = 0


@dataclass
class Read:
    """What the events of one telling join to."""

    content: str = ""
    reasoning: str = ""
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    finish_reason: str | None = None

    def add(self, event: dict[str, Any]) -> None:
        self.content += event["text"]
        self.reasoning += event.get("reasoning") or ""
        self.finish_reason = event["finish_reason"]
        for delta in event.get("tool_calls") or ():
            call = self.calls.setdefault(delta["index"], {"id": "", "name": "", "arguments": ""})
            for name in call:
                call[name] += delta.get(name) or ""

    def as_meant(self) -> dict[str, Any]:
        """In the shape of a transcript."""
        calls = [self.calls[number] for number in sorted(self.calls)]
        assert sorted(self.calls) == list(range(len(calls))), "numbers without a gap"
        assert all(call["id"] for call in calls), "every call has an id"
        return {
            "content": self.content,
            "reasoning": self.reasoning,
            "calls": [
                {"name": call["name"], "arguments": _value(call["arguments"])} for call in calls
            ],
            "finish_reason": self.finish_reason,
        }


def _value(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return f"not JSON: {arguments}"


class Teller:
    """One model's tokenizer, whose marks are tokens or are spelled, and its parsers."""

    def __init__(self, transcript: dict[str, Any], *, marks: str) -> None:
        """`marks`: are `special` tokens, `added` ones, or `spelled` by others."""
        from vllm.tokenizers import get_tokenizer

        with tempfile.TemporaryDirectory() as folder:
            tokenizer = write_chat_tokenizer(Path(folder))
            if marks != "spelled":
                tokenizer.add_tokens(transcript["marks"], special_tokens=marks == "special")
                tokenizer.save_pretrained(folder)
            # without this file vLLM waits for two seconds and looks again
            Path(folder, "config.json").write_text('{"model_type": "llama"}')
            self.tokenizer = get_tokenizer(folder)
        self.vocabulary = Vocabulary.read(self.tokenizer)
        config = SimpleNamespace(
            hf_config=SimpleNamespace(model_type="llama"),
            hf_text_config=SimpleNamespace(model_type="llama"),
        )
        llm = SimpleNamespace(get_tokenizer=lambda: self.tokenizer, model_config=config)
        logger = SimpleNamespace(log_error=_fail, log_warn=_fail, log_info=print)
        self.readings = ReplyParsers(
            Parsers(transcript["parser"], transcript["reasoning"]), llm, logger
        )

    def tell(self, steps: Iterable[Sequence[int]], choice: Any) -> dict[str, Any]:
        """What is read when the engine tells the tokens of each step at once."""
        reading = self.readings.open({"tools": TOOLS, "tool_choice": choice}, {})
        assert reading is not None
        prompt = [1]
        writer = EventWriter(self.vocabulary, 1, 1, 0, reading.readers(1, prompt))
        decoder, read = codecs.getincrementaldecoder("utf-8")(), Read()
        for step in steps:
            spelled = b"".join(bytes(self.vocabulary.bytes_of(one)) for one in step)
            for event in writer.write(Output([Part(decoder.decode(spelled), step)])):
                read.add(event)
        end = Part("", [self.tokenizer.eos_token_id], "stop")
        for event in writer.write(Output([end])):
            read.add(event)
        return read.as_meant()


def _fail(message: str) -> None:
    raise AssertionError(message)


def tellings(tokens: Sequence[int], seed: int) -> Iterator[tuple[str, list[Sequence[int]]]]:
    """Every way to cut: not at all, everywhere, once at each place, evenly and at random."""
    yield "whole", [tokens]
    yield "each token", [[token] for token in tokens]
    for place in range(1, len(tokens)):
        yield f"at {place}", [tokens[:place], tokens[place:]]
    for size in range(2, 10):
        yield (
            f"every {size}",
            [tokens[start : start + size] for start in range(0, len(tokens), size)],
        )
    chance = random.Random(seed)
    for number in range(40):
        places = sorted(chance.sample(range(1, len(tokens)), min(len(tokens) - 1, number % 8 + 2)))
        edges = [0, *places, len(tokens)]
        yield (
            f"at {places}",
            [tokens[a:b] for a, b in itertools.pairwise(edges)],
        )


def check(file: Path) -> list[str]:
    """What is wrong with one format."""
    transcript, wrong = json.loads(file.read_text()), []
    for marks in transcript["marked"]:
        teller = Teller(transcript, marks=marks)
        for case in transcript["cases"]:
            meant = {name: case[name] for name in ("content", "reasoning", "calls")}
            choice = case.get("choice", "auto")
            called = case["calls"] and not isinstance(choice, dict)
            meant["finish_reason"] = "tool_calls" if called else "stop"
            tokens = teller.tokenizer.encode(case["text"], add_special_tokens=False)
            bad = []
            for how, steps in tellings(tokens, len(tokens)):
                try:
                    reading: Any = teller.tell(steps, choice)
                except Exception as error:  # a parser's or the step's: reported with its case
                    reading = repr(error)
                if reading != meant:
                    bad.append(f"cut {how}: {json.dumps(reading, ensure_ascii=False)}")
            name = f"{file.stem}, {case['name']}, marks {marks}"
            wrong += [f"{name}: {len(bad)} tellings; {one}" for one in bad[:MOST_SHOWN]]
    return wrong


def main() -> None:
    """Of the files that are named."""
    results = {file: check(Path(file)) for file in sys.argv[1:]}
    sys.stdout.write("\n" + json.dumps(results, ensure_ascii=False))


if __name__ == "__main__":
    main()
