"""Canonical events for tests, and scripted stand-ins for what is below the code under test."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from frontend.budget import Budget
from frontend.domain.events import Event
from frontend.domain.models import Model
from frontend.generation.structure import Structures
from frontend.media.fetch import Fetcher
from frontend.media.images import ImageBounds, Images
from frontend.media.transcode import DecodeLimits
from frontend.schemas.limits import Limits
from frontend.workers import Result, Workers

MODEL = Model(
    name="m",
    kind="llm",
    aliases=("alias",),
    capabilities=frozenset({"chat", "completion"}),
    context_length=64,
    dimensions=None,
    image=None,
    owned_by="test",
    created_s=0,
)


def event(text: str = "", index: int = 0, finish: str | None = None, **more: Any) -> Event:
    """An event of a request with a prompt of 3 tokens."""
    fields: dict[str, Any] = {
        "token_ids": [1] if text else [],
        "stop_reason": None,
        "prompt_tokens": 3,
        "cached_tokens": 0,
        "completion_tokens": 1,
    }
    return Event(index=index, text=text, finish_reason=finish, **{**fields, **more})


def token(text: str, logprob: float = -0.5, top: int = 0) -> dict[str, Any]:
    """A token as the contract describes it, with `top` likelier ones."""
    likelier = [
        {"token": f"<{n}>", "id": n, "bytes": [60, 48 + n, 62], "logprob": -0.1} for n in range(top)
    ]
    return {
        "token": text,
        "id": 9,
        "bytes": list(text.encode()),
        "logprob": logprob,
        "top": likelier,
    }


@st.composite
def replies(draw: st.DrawFn, n: int) -> list[Event]:
    """What an engine may send for `n` completions: their events interleaved in any way."""
    left = {
        index: draw(st.lists(st.text(max_size=8), min_size=1, max_size=6)) for index in range(n)
    }
    sent: list[Event] = []
    while left:
        index = draw(st.sampled_from(sorted(left)))
        text = left[index].pop(0)
        finish = None if left[index] else draw(st.sampled_from(["stop", "length"]))
        done = sum(one.index == index for one in sent) + 1
        tokens = [token(text, top=2)]
        sent.append(event(text, index, finish, completion_tokens=done, logprobs=tokens))
        if finish:
            del left[index]
    return sent


class InlineWorkers(Workers):
    """Does the work at once, in this process."""

    def __init__(self) -> None:
        self.callers: list[str] = []

    async def call(
        self, function: Callable[..., Result], *arguments: object, caller: str
    ) -> Result:
        self.callers.append(caller)
        return function(*arguments)

    async def close(self) -> None:
        return


def structures(workers: Workers | None = None, retries: int = 0) -> Structures:
    """Schemas checked without processes."""
    return Structures(workers or InlineWorkers(), Limits(), retries)


def no_images() -> Images:
    """Does not read images: a request must not have any."""
    limits = ImageBounds(0, 0, 0, DecodeLimits(1))
    return Images(Fetcher(0, 1), InlineWorkers(), Budget(0), limits)
