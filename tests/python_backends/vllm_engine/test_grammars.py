"""Grammars in processes of their own, with the real xgrammar and a small vocabulary."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from python_backends.errors import InvalidInput, Unavailable
from python_backends.loop import LoopThread
from python_backends.vllm_engine import grammars as module
from python_backends.vllm_engine.grammar_client import Host
from python_backends.vllm_engine.grammar_limits import Grammar, GrammarLimits, read_grammar
from python_backends.vllm_engine.grammars import Grammars
from tests.support.processes import wait_for
from toolkit.runtime.environments import ensure_environment

STOP = 256
LIMITS = GrammarLimits(grammar_compile_s=2, grammar_memory_mb=300, grammar_mask_ms=100)
MAKE_VOCABULARY = """
import xgrammar as xgr
words = [b"" if one == 0xF1 else bytes([one]) for one in range(256)] + [b"</s>"]
print(xgr.TokenizerInfo(words, stop_token_ids=[256]).serialize_json())
"""


def ambiguous(alternatives: int) -> str:
    """Every letter could belong to each of the alternatives."""
    names = " | ".join(f'a{number} "b"' for number in range(alternatives))
    rules = "\n".join(f'a{number} ::= "a"*' for number in range(alternatives))
    return f"root ::= x*\nx ::= {names}\n{rules}"


def properties(count: int) -> dict[str, Any]:
    return {f"p{number}": {"type": "string"} for number in range(count)}


def nested_choice(depth: int) -> dict[str, Any]:
    """Twice as many ways at each level."""
    levels = {
        f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} if n < depth else {"type": "null"}
        for n in range(depth + 1)
    }
    return {"$ref": "#/$defs/d0", "$defs": levels}


@pytest.fixture(scope="module")
def loop() -> Iterator[LoopThread]:
    made = LoopThread("grammars")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def vocabulary() -> str:
    python = ensure_environment("vllm") / "bin" / "python"
    return subprocess.run(
        [python, "-c", MAKE_VOCABULARY], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def grammars(loop: LoopThread, vocabulary: str) -> Iterator[Grammars]:
    module.PYTHON = str(ensure_environment("vllm") / "bin" / "python")

    async def make() -> Grammars:
        made = Grammars(LIMITS)
        made.start(vocabulary, compact=False)
        return made

    made = loop.run(make())
    yield made
    made.close()
    assert not Path(made._folder).exists()
    assert not psutil.pid_exists(made._forkserver.pid)


class Walk:
    """What the engine's core does: asks for masks on a socket."""

    def __init__(self, host: Host, stops: tuple[int, ...] = ()) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(20)
        self._socket.connect(host.path)
        self.size, *self.stops = self._numbers(b"o", *stops)

    def mask(self, *accepted: int) -> set[int]:
        words = np.array(self._numbers(b"m", *accepted), dtype=np.int32)
        bits = np.unpackbits(words.view(np.uint8), bitorder="little")
        return set(np.nonzero(bits)[0].tolist())

    def say(self, text: str) -> set[int]:
        return self.mask(*text.encode())

    def ask(self, letter: bytes, *numbers: int) -> bytes:
        self._socket.send(letter + np.array(numbers, dtype=np.int32).tobytes())
        return self._socket.recv(1 << 20)

    def _numbers(self, letter: bytes, *numbers: int) -> list[int]:
        answer = self.ask(letter, *numbers)
        assert answer[:1] == b"\0", answer
        return [int(one) for one in np.frombuffer(answer[1:], dtype=np.int32)]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def hosted(loop: LoopThread, grammars: Grammars) -> Iterator[Callable[..., Host]]:
    """Opens grammars for the test's duration, from outside of the loop."""
    stack = contextlib.AsyncExitStack()

    def host(grammar: Grammar, caller: str = "me") -> Host:
        return loop.run(stack.enter_async_context(grammars.hosted(grammar, caller)))

    yield host
    loop.run(stack.aclose())


def schema(value: Any) -> Grammar:
    return read_grammar({"json": value}, LIMITS)


def test_masks_follow_the_schema(hosted: Callable[..., Host]) -> None:
    walk = Walk(hosted(schema({"enum": ["ab", "ac"]})))
    assert (walk.size, walk.stops) == (257, [STOP])
    assert walk.mask() == {ord('"')}
    assert walk.say('"a') == {ord("b"), ord("c")}
    assert walk.ask(b"v", *b'b"x')[1:5] == bytes([2, 0, 0, 0]), "two of three can follow"
    assert walk.say('c"') == {STOP}
    assert walk.ask(b"r", 2) == b"\0"
    assert walk.say("b") == {ord('"')}
    assert walk.ask(b"m", ord("x"))[:1] == b"\1", "rejected"
    walk.close()


def test_blanks_are_bounded(hosted: Callable[..., Host]) -> None:
    empty = {"type": "object", "properties": {}, "additionalProperties": False}
    tag = {"type": "structural_tag", "format": {"type": "json_schema", "json_schema": empty}}
    tag["format"]["max_whitespace_cnt"] = None  # type: ignore[index]
    for grammar in (schema(empty), read_grammar({"structural_tag": json.dumps(tag)}, LIMITS)):
        walk = Walk(hosted(grammar))
        walk.say("{")
        for _ in range(LIMITS.grammar_whitespace - 1):
            assert ord(" ") in walk.say(" ")
        assert walk.say(" ") == {ord("}")}
        walk.close()


def test_requests_share_a_process_and_callers_do_not(hosted: Callable[..., Host]) -> None:
    first, second = hosted(schema({"const": 1})), hosted(schema({"const": 1}))
    assert first is second
    assert hosted(schema({"const": 1}), "you").path != first.path
    one, two = Walk(first), Walk(second)
    assert one.say("1") == {STOP}
    assert two.mask() == {ord("1")}
    one.close(), two.close()


@pytest.mark.parametrize(
    "structure",
    [
        {"json": {"type": "object", "properties": properties(1200), "minProperties": 600}},
        {"json": nested_choice(60)},
        {"json": {"type": "array", "items": {"type": "array", "minItems": 900, "items": {}}}
         | {"minItems": 900, "maxItems": 999}},
        {"json": {"anyOf": [{"pattern": "(a{1,1900}){1,9}k", "type": "string"}] * 1900}},
        {"regex": "((((a{1,99}){1,99}){1,99}){1,99}){1,99}"},
        {"regex": "(a?){5000}" + "a" * 5000},
        {"regex": "(" * 5000 + "a" + ")" * 5000},
        {"grammar": ambiguous(3000)},
        {"grammar": "root ::= root root | root root root | \"a\""},
        {"grammar": "\n".join(["root ::= r0"] + [f"r{n} ::= r{n + 1} r{n + 1}" for n in range(60)])
         + '\nr60 ::= "a"'},
        {"grammar": 'root ::= "a"{1,1000000000}'},
        {"structural_tag": json.dumps({"type": "structural_tag", "format": {
            "type": "sequence", "elements": [{"type": "any_text"}] * 2000}})},
    ],
    ids=lambda structure: f"{next(iter(structure))}-{len(str(structure))}",
)  # fmt: skip
def test_no_grammar_costs_more_than_its_limits(
    hosted: Callable[..., Host], grammars: Grammars, structure: dict[str, Any]
) -> None:
    """Refused, or served with masks that come in time; never waited for without end.

    On a machine with other work the keeper may refuse because time ran out, which is also an end.
    """
    started_s = time.monotonic()
    refused, busy = None, None
    try:
        walk = Walk(hosted(read_grammar(structure, LIMITS)))
    except InvalidInput as error:
        refused = error
    except Unavailable as error:
        busy = error
    else:
        with contextlib.suppress(AssertionError):  # its process may end, or answer that it is slow
            for _ in range(30):
                walk.mask(ord("a"))
        walk.close()
    assert busy is None or "no time to compile" in str(busy)
    if refused is not None:
        assert refused.code in ("grammar_too_expensive", "grammar_too_large", "invalid_grammar")
        assert refused.param == f"structured_outputs.{next(iter(structure))}"
        assert len(refused.message) < 600
    assert time.monotonic() - started_s < 60
    assert psutil.Process(grammars._forkserver.pid).is_running()


def test_a_mask_that_takes_too_long_ends_its_grammar_alone(
    hosted: Callable[..., Host], loop: LoopThread
) -> None:
    """The trial does not find its way behind a password."""
    bomb = Grammar("regex", "open sesame((((.*)*)*)*)*x|[a-np-z][a-z ]*")
    host, other = hosted(bomb), hosted(schema({"const": 1}), "you")
    walk, innocent = Walk(host), Walk(other)
    started_s = time.monotonic()
    answer = walk.ask(b"m", *b"open sesame")
    for letter in b"behind it everything means many things " * 9:
        if answer[:1] != b"\0":
            break
        answer = walk.ask(b"m", letter)
    assert answer[:1] in (b"", b"\2")
    assert time.monotonic() - started_s < 20
    failure = loop.run(host.failure())
    assert failure is not None
    assert (failure.status, failure.code) == (400, "grammar_too_expensive")
    assert innocent.mask() == {ord("1")}
    assert loop.run(other.failure()) is None
    walk.close(), innocent.close()


def test_what_the_vocabulary_cannot_write_is_escaped_or_left_out(
    hosted: Callable[..., Host],
) -> None:
    """It lacks the byte 0xF1, with which U+40000 begins."""
    walk = Walk(hosted(schema({"enum": ["\U00040000"]})))
    assert walk.say('"') == {ord("\\")}
    assert walk.say("\\ud8c0\\udc00") == {ord('"')}
    walk.close()
    for kind, value in (("regex", "a|[\U00040000]*b?"), ("choice", ["a", "\U00040000"])):
        walk = Walk(hosted(read_grammar({kind: value}, LIMITS)))
        assert walk.mask() >= {ord("a")}
        walk.close()
    with pytest.raises(InvalidInput, match="has no tokens for its characters"):
        hosted(read_grammar({"choice": ["\U00040000"]}, LIMITS))


def test_a_request_that_cannot_go_on_says_why(
    hosted: Callable[..., Host], loop: LoopThread
) -> None:
    tag = {"begin": "<tool>", "content": {"type": "const_string", "value": "\U00040000"}, "end": ""}
    tags = {"type": "triggered_tags", "triggers": ["<tool"], "tags": [tag]}
    stuck = hosted(
        read_grammar({"structural_tag": {"type": "structural_tag", "format": tags}}, LIMITS)
    )
    rejected = hosted(schema({"const": 1}))
    for host, text, answer, said in (
        (stuck, b"<tool>", b"\3", "no token of the model"),
        (rejected, b"x", b"\1", "allowed_token_ids"),
    ):
        walk = Walk(host)
        assert walk.ask(b"m", *text)[:1] == answer
        failure = loop.run(host.failure())
        assert failure is not None
        assert (failure.status, failure.code) == (400, "invalid_grammar")
        assert said in failure.message
        walk.close()


def test_half_of_a_surrogate_pair_is_refused() -> None:
    for kind, value in (("json", {"const": "\ud800"}), ("regex", "\udfff"), ("choice", ["\ud800"])):
        with pytest.raises(InvalidInput, match="half of a surrogate pair"):
            read_grammar({kind: value}, LIMITS)


def test_what_cannot_be_compiled_is_refused_with_the_compilers_sentence(
    hosted: Callable[..., Host],
) -> None:
    for structure, said in (
        ({"regex": r"\p{L}+"}, "Unicode character class"),
        ({"json": {"type": "string", "pattern": r"^\p{L}+$"}}, "Unicode character class"),
        ({"json": {"type": "object", "minProperties": 3, "additionalProperties": False}}, "minPro"),
        ({"grammar": "root ::= nothing_such"}, "nothing_such"),
        ({"regex": "("}, "regex|Regex|parenthesis"),
        ({"json": {"$ref": "#"}}, "nothing can match"),
    ):
        for _ in range(2):  # the second one is remembered
            with pytest.raises(InvalidInput, match=said) as caught:
                hosted(read_grammar(structure, LIMITS))
            assert caught.value.code == "invalid_grammar"
            assert ".cc" not in caught.value.message


def test_an_abandoned_compile_is_ended(loop: LoopThread, grammars: Grammars) -> None:
    slow = schema({"type": "object", "properties": properties(900), "minProperties": 450})
    keeper = psutil.Process(grammars._forkserver.pid)
    before = {child.pid for child in keeper.children()}
    started: set[int] = set()

    async def enter() -> None:
        async with grammars.hosted(slow, "me"):
            raise AssertionError("it takes longer")

    async def abandon() -> None:
        task = asyncio.ensure_future(enter())
        while not started:
            started.update({child.pid for child in keeper.children()} - before)
            await asyncio.sleep(0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    loop.run(abandon())
    # by itself it would end after so much computing, which one thread cannot do in less time
    within_s = LIMITS.grammar_compile_s * 0.9
    wait_for(lambda: not any(map(psutil.pid_exists, started)), within_s, "the end of the compile")


def test_a_request_does_not_join_a_compile_that_is_ending(
    loop: LoopThread, grammars: Grammars
) -> None:
    grammar = schema({"const": "joined late"})

    async def leave_and_come() -> None:
        async def enter() -> None:
            async with grammars.hosted(grammar, "late"):
                pass

        first = asyncio.ensure_future(enter())
        await asyncio.sleep(0)  # it waits for its compile now
        (pending,) = (made for (caller, _), made in grammars._hosts.items() if caller == "late")
        first.cancel()
        await asyncio.sleep(0)  # it has cancelled the compile, which has not ended yet
        assert pending.ending
        assert not pending.task.done()
        await asyncio.wait_for(enter(), 20)

    loop.run(leave_and_come())


def test_nobody_has_more_than_half_of_the_processes(loop: LoopThread, grammars: Grammars) -> None:
    most = LIMITS.grammar_processes // 2

    @contextlib.asynccontextmanager
    async def many() -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for number in range(most):
                await stack.enter_async_context(grammars.hosted(schema({"const": number}), "a"))
            yield

    async def check() -> None:
        async with many():
            waiting = asyncio.ensure_future(one_more("a"))
            await one_more("b")
            assert not waiting.done()
        await asyncio.wait_for(waiting, 20)

    async def one_more(caller: str) -> None:
        async with grammars.hosted(schema({"const": "more"}), caller):
            pass

    loop.run(check(), 100)


def test_the_keeper_comes_back(loop: LoopThread, grammars: Grammars) -> None:
    async def ask() -> None:
        async with grammars.hosted(schema({"const": "again"}), "me"):
            pass

    killed = psutil.Process(grammars._forkserver.pid)
    children = killed.children()
    killed.kill()
    wait_for(lambda: not any(map(is_alive, children)), what="the end of the grammars")
    with pytest.raises(Unavailable):
        loop.run(ask())
    loop.run(ask())
    assert grammars._forkserver.pid != killed.pid


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_idle_processes_are_few(grammars: Grammars) -> None:
    keeper = psutil.Process(grammars._forkserver.pid)
    wait_for(lambda: len(keeper.children()) <= 8, what="the end of idle processes")


def test_nothing_outlives_a_killed_owner(vocabulary: str, tmp_path: Path) -> None:
    """The engine's stub is killed: the keeper's standard input ends with it."""
    code = (
        "import asyncio, os, signal, sys\n"
        "from python_backends.vllm_engine import grammars as module\n"
        f"module.PYTHON = {str(ensure_environment('vllm') / 'bin' / 'python')!r}\n"
        "made = module.Grammars(module.GrammarLimits())\n"
        "made.start(sys.stdin.read(), compact=False)\n"
        "async def main():\n"
        "    async with made.hosted(module.Grammar('json', '{}'), ''):\n"
        "        print(made._folder, made._forkserver.pid, flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, input=vocabulary, capture_output=True, text=True
    )
    folder, keeper = ended.stdout.split()
    wait_for(lambda: not psutil.pid_exists(int(keeper)), what="the end of the keeper")
    assert not Path(folder).exists()
