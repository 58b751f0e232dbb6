"""Two hundred open live views of 25 people beside a caller of models."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import httpx2
import pytest

from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.directory.directory import Directory
from frontend.accounts.directory.keys import NewKey
from frontend.accounts.directory.users import NewUser
from tests.support.databases import Databases
from tests.support.echo import EchoTriton, script
from tests.support.site import Site, run_site

_PEOPLE, _EACH = 25, 8


@pytest.fixture(scope="module")
def keys() -> dict[str, str]:
    """A key for each person, by name."""
    return {}


@pytest.fixture(scope="module")
def site(
    echo_triton: EchoTriton,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
    keys: dict[str, str],
) -> Iterator[Site]:
    async def settle(directory: Directory) -> None:
        for name in ("caller", *(f"watcher-{n}" for n in range(_PEOPLE))):
            role = "student" if name == "caller" else "watcher"
            user = await directory.users.create(OPERATOR, NewUser(name, role))
            made = await directory.keys.create(OPERATOR, user.id, NewKey())
            assert made.text is not None
            keys[name] = made.text

    log, roles = tmp_path_factory.mktemp("live") / "log", {"watcher": ["self", "observe"]}
    triton = echo_triton.grpc_address
    with run_site(triton, log, databases.sqlite(), {}, roles, settle=settle) as running:
        yield running


class Watching:
    """Open views, and what each has been sent."""

    def __init__(self) -> None:
        self.seen: dict[int, set[str]] = defaultdict(set)
        self.news = asyncio.Event()

    async def follow(self, number: int, answer: httpx2.Response) -> None:
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                self.seen[number].add(line)
                self.news.set()

    async def until_later(self, count: int) -> None:
        """Waits until each has two events more than it has now."""
        before = {number: len(self.seen[number]) for number in range(count)}
        while any(len(self.seen[number]) < before[number] + 2 for number in range(count)):
            self.news.clear()
            await self.news.wait()


async def _watch(site: Site, keys: dict[str, str]) -> None:
    watching, most = Watching(), _PEOPLE * _EACH
    limits = httpx2.Limits(max_connections=most + 10)
    async with (
        AsyncExitStack() as opened,
        httpx2.AsyncClient(base_url=site.url, timeout=120, limits=limits) as http,
        asyncio.TaskGroup() as readers,
    ):
        tasks = []
        for number in range(most):
            bearer = {"authorization": f"Bearer {keys[f'watcher-{number % _PEOPLE}']}"}
            view = await opened.enter_async_context(
                http.stream("GET", "/admin/live", headers=bearer)
            )
            assert view.status_code == 200
            tasks.append(readers.create_task(watching.follow(number, view)))
        mine = {"authorization": f"Bearer {keys['caller']}"}
        for number in range(20):
            messages = script(text=f"answer {number} of many")
            body = {"model": "echo", "messages": messages, "stream": bool(number % 2)}
            answer = await http.post("/v1/chat/completions", json=body, headers=mine)
            assert answer.status_code == 200, answer.text
            assert "many" in answer.text
        # the views have not been starved by the caller either
        await watching.until_later(most)
        # a ninth view of one person is refused, and says so
        refused = await http.get("/admin/live", headers=bearer)
        assert (refused.status_code, "at most 8 of one user" in refused.text) == (503, True)
        for task in tasks:
            task.cancel()
    # one snapshot is made for all of them, however many there are
    whole = set().union(*watching.seen.values())
    moments = {line.partition('"at":')[2].partition(",")[0] for line in whole}
    assert len(whole) == len(moments)
    assert len(whole) < most


def test_a_caller_beside_two_hundred_views_gets_every_answer(
    site: Site, keys: dict[str, str]
) -> None:
    # Playwright may have a loop of its own in this thread
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(_watch(site, keys))).result()
