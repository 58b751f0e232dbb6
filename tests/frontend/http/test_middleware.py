"""What surrounds every request lets go of it at its end."""

import gc
import weakref

from starlette.types import Message, Receive, Scope, Send

from frontend.errors import InvalidRequest
from frontend.http.middleware import Frame
from frontend.http.sites import Sites


class Body(bytearray):
    """One that weak references can follow."""


async def test_a_refused_request_leaves_nothing_in_memory() -> None:
    bodies: list[weakref.ref[Body]] = []

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        body = Body(1000)
        bodies.append(weakref.ref(body))
        try:
            raise ValueError(body)
        except ValueError:
            raise InvalidRequest("no") from None

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope: Scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    gc.disable()
    try:
        await Frame(refuse, Sites(hosts=None, origins=None))(scope, receive, send)
        assert sent[0]["status"] == 400
        assert bodies[0]() is None
    finally:
        gc.enable()
