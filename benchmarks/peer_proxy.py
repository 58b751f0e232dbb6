"""The peer of `proxy`: a bare proxy of Starlette and aiohttp that passes bodies on unread.

`python -m benchmarks.peer_proxy PORT URL` listens on PORT of loopback and passes on to URL.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route


def main(port: int, url: str) -> None:
    """Serves until it is ended."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            app.state.session = session
            yield

    async def chat(request: Request) -> Response:
        headers = {"content-type": "application/json"}
        target, body = url + request.url.path, await request.body()
        answer = await request.app.state.session.post(target, data=body, headers=headers)
        kind = answer.headers["content-type"]
        if "content-length" in answer.headers:
            async with answer:
                return Response(await answer.read(), answer.status, media_type=kind)

        async def parts() -> AsyncIterator[bytes]:
            async with answer:
                async for part in answer.content.iter_any():
                    yield part

        return StreamingResponse(parts(), answer.status, media_type=kind)

    app = Starlette(
        routes=[Route("/v1/chat/completions", chat, methods=["POST"])], lifespan=lifespan
    )
    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None, access_log=False)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
