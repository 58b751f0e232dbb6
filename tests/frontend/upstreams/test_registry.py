"""The catalogue follows Triton, and tells apart what is gone and what never was."""

import asyncio
from typing import cast

import pytest
from tritonclient.grpc.service_pb2 import ModelConfigResponse

from frontend.errors import BackendUnavailable, NotFound
from frontend.upstreams.registry import Catalogue
from frontend.upstreams.triton.client import Triton


class Server:
    """Triton as the catalogue sees it: names of public models, or None when it is away."""

    def __init__(self, *names: str) -> None:
        self.names: tuple[str, ...] | None = names
        self.asked = 0
        self.asked_often = asyncio.Event()

    async def ready_models(self) -> list[ModelConfigResponse]:
        self.asked += 1
        if self.asked == 3:
            self.asked_often.set()
        await asyncio.sleep(0)
        if self.names is None:
            raise BackendUnavailable("away")
        return [self._config(name) for name in self.names]

    def _config(self, name: str) -> ModelConfigResponse:
        answer = ModelConfigResponse()
        answer.config.name = name
        parameters = {"toolkit.contract": "1", "toolkit.kind": "llm"}
        parameters["toolkit.aliases"] = f'["{name}-alias", "shared"]'
        for key, value in parameters.items():
            answer.config.parameters[key].string_value = value
        return answer


def catalogue(server: Server) -> Catalogue:
    return Catalogue(cast(Triton, server), interval_s=60)


async def test_a_model_is_found_by_name_and_alias() -> None:
    found = catalogue(Server("a"))
    assert (await found.find("a")).name == "a"
    assert (await found.find("a-alias")).name == "a"
    assert [model.name for model in found.models] == ["a"]
    assert found.is_ready


async def test_a_name_beats_another_models_alias() -> None:
    assert (await catalogue(Server("a", "shared")).find("shared")).name == "shared"


async def test_a_miss_looks_again_but_not_for_every_caller() -> None:
    server = Server("a")
    found = catalogue(server)
    answers = await asyncio.gather(*(found.find("b") for _ in range(20)), return_exceptions=True)
    assert all(isinstance(answer, NotFound) for answer in answers)
    assert server.asked == 1
    with pytest.raises(NotFound):
        await found.find("c")
    assert server.asked == 1, "misses within half a second share one look"


async def test_one_caller_that_leaves_does_not_end_the_look_of_others() -> None:
    found = catalogue(Server("a"))
    leaver, stayer = (asyncio.create_task(found.find("a")) for _ in range(2))
    await asyncio.sleep(0)
    leaver.cancel()
    assert (await stayer).name == "a"
    with pytest.raises(asyncio.CancelledError):
        await leaver


async def test_a_model_that_was_there_is_unavailable_not_unknown() -> None:
    server = Server("a", "b")
    found = catalogue(server)
    await found.refresh()
    server.names = ("b",)
    await found.refresh()
    with pytest.raises(BackendUnavailable):
        await found.find("a")
    with pytest.raises(NotFound):
        await found.find("c")


async def test_while_triton_is_away_nothing_is_ready() -> None:
    server = Server("a")
    found = catalogue(server)
    await found.refresh()
    server.names = None
    await found.refresh()
    assert not found.is_ready
    with pytest.raises(BackendUnavailable):
        await found.find("never-seen")
    with pytest.raises(BackendUnavailable):
        await found.check()
    server.names = ("a",)
    await found.check()
    assert found.is_ready


async def test_polling_ends_with_its_block() -> None:
    server = Server("a")
    found = Catalogue(cast(Triton, server), interval_s=0.001)
    async with found.polling():
        await server.asked_often.wait()
    assert len(asyncio.all_tasks()) == 1


class Reviving(Server):
    """A server whose engine is started anew now and then, as its generation says."""

    def __init__(self) -> None:
        super().__init__("a")
        self.generation = ""
        self.abandoned: list[str] = []

    def _config(self, name: str) -> ModelConfigResponse:
        answer = super()._config(name)
        if self.generation:
            answer.config.parameters["toolkit.generation"].string_value = self.generation
        return answer

    def abandon_engine(self, engine: str) -> None:
        self.abandoned.append(engine)


async def test_streams_end_when_their_engine_gets_a_new_generation_and_only_then() -> None:
    server = Reviving()
    found = catalogue(server)
    for generation, abandoned in (
        ("", 0),
        ("1", 1),  # it died, and was loaded once more
        ("1", 1),
        ("", 1),  # an operator loaded it from disk: what runs is finished first
        ("2", 2),
    ):
        server.generation = generation
        await found.refresh()
        assert server.abandoned == ["a"] * abandoned, generation


async def test_a_gateway_that_comes_later_takes_a_generation_for_the_first() -> None:
    server = Reviving()
    server.generation = "1"
    await catalogue(server).refresh()
    assert server.abandoned == []
