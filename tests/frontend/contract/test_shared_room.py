"""Two gateways want different models of one Triton that has room for one of them."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event

import httpx2
import pytest

from tests.support.databases import Databases
from tests.support.echo import EchoTriton, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.repository import write_echo_chat
from toolkit.runtime.environments import link_environments

MODELS = ("north", "south")
_CHANGE = re.compile(r"successfully (loaded|unloaded) '(north|south)'")


@dataclass
class Site:
    """Two gateways with one database in front of one Triton."""

    triton: EchoTriton
    gateways: list[Gateway]

    def changes(self) -> list[tuple[str, str]]:
        """What Triton has done so far, in order: (loaded or unloaded, model)."""
        return _CHANGE.findall(self.triton.log.read_text(errors="replace"))


@pytest.fixture(scope="module")
def site(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("room")
    root = folder / "model_repository"
    root.mkdir()
    for name in MODELS:
        write_echo_chat(root, name, **{"toolkit.keep_alive": "600"})
    link_environments(root)
    triton = EchoTriton(root, folder / "triton.log", models=MODELS[:1])
    triton.start()
    flags = ["--database-url", f"sqlite:///{databases.sqlite().file}", "--heartbeat-s", "0.2"]
    flags += ["--repository", str(root), "--keep-alive", "10m", "--max-loaded-models", "1"]
    flags += ["--min-loaded-s", "0.5", "--max-load-wait-s", "100", "--poll-interval-s", "0.5"]
    with ExitStack() as stack:
        gateways = [
            stack.enter_context(run_gateway(triton.grpc_address, folder / f"{n}.log", *flags))
            for n in range(2)
        ]
        yield Site(triton, gateways)
    triton.stop()


def ask(
    gateway: Gateway, model: str, text: str, begun: Event | None = None, **more: int
) -> tuple[str, int]:
    """The text of a stream, and how many heartbeats came before it. `begun` is set with its first
    word."""
    body = {"model": model, "messages": script(text=text, **more), "stream": True}
    said, beats = "", 0
    url = f"{gateway.url}/v1/chat/completions"
    with httpx2.stream("POST", url, json=body, timeout=200) as answer:
        assert answer.status_code == 200, answer.read()
        for line in answer.iter_lines():
            beats += line.startswith(":") and not said
            if line.startswith("data: {"):
                chunk = json.loads(line[6:])
                assert "error" not in chunk, chunk
                said += "".join(one["delta"].get("content") or "" for one in chunk["choices"])
                if said and begun is not None:
                    begun.set()
    return said, beats


def test_models_of_two_gateways_take_turns_and_none_of_them_waits_for_ever(site: Site) -> None:
    """Each has requests without a pause; all are answered, and one model at a time is there."""
    before = len(site.changes())
    beats = dict.fromkeys(MODELS, 0)

    def work(number: int) -> None:
        model = MODELS[number % 2]
        for turn in range(4):
            said, waited = ask(site.gateways[number % 2], model, f"{model} {turn}", delay_ms=20)
            assert said == f"{model} {turn}"
            beats[model] += waited

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    done = site.changes()
    assert {name for what, name in done[before:] if what == "loaded"} == set(MODELS)
    assert sum(beats.values()) > 0, "those that wait for a model see heartbeats"
    # no model was loaded beside another one, and none that was there already
    there: list[str] = []
    for what, name in done:
        there.append(name) if what == "loaded" else there.remove(name)
        assert len(there) <= 1, done


def test_both_ask_for_one_model_that_is_not_loaded_and_it_is_loaded_once(site: Site) -> None:
    for _ in range(3):
        absent = next(one for one in MODELS if one != site.changes()[-1][1])
        before = len(site.changes())
        with ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(ask, site.gateways[n % 2], absent, "x") for n in range(6)]
            assert {one.result()[0] for one in asked} == {"x"}
        loads = [name for what, name in site.changes()[before:] if what == "loaded"]
        assert loads == [absent]


def test_a_model_with_a_stream_at_the_other_gateway_is_not_unloaded(site: Site) -> None:
    one, two = site.gateways
    here = site.changes()[-1][1]
    (other,) = {*MODELS} - {here}
    text, begun, ended = "word " * 100, Event(), list[str]()
    with ThreadPoolExecutor(2) as pool:
        stream = pool.submit(ask, one, here, text, begun, delay_ms=100)
        stream.add_done_callback(lambda _: ended.append("stream"))
        assert begun.wait()
        second = pool.submit(ask, two, other, "second")
        second.add_done_callback(lambda _: ended.append("second"))
    assert stream.result()[0] == text
    said, beats = second.result()
    assert said == "second"
    assert beats > 0, "it waited"
    assert ended == ["stream", "second"], "the memory is free when the stream has ended"
