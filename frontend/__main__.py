"""`python -m frontend`: reads the settings, serves until a signal ends it, exits with 0."""

import asyncio
import gc
import logging
import os
import socket
import sys

# read when gRPC makes its first channel: its new event engine polls from threads of its own, and
# without it a request costs a fifth to a third less CPU (alternating pairs over the echo engine)
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client")

import uvicorn
import uvloop
from pydantic import ValidationError
from pydantic_settings import CliApp

from frontend.access.keys import KeyFileError
from frontend.app import create_app
from frontend.backends.catalogue import find_cycle
from frontend.liveness import liveness
from frontend.server import BoundedHttp, DrainingServer
from frontend.settings import Settings


async def serve(settings: Settings) -> None:
    """Serves until a signal ends it."""
    app = create_app(settings)
    gc.freeze()  # what is there now stays: no collection need look at it again
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=BoundedHttp,
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=75,
    )
    server = DrainingServer(config, app.state.runner, settings.drain_s)
    async with liveness(settings.health_socket):
        if settings.ollama_port is None:
            await server.serve()
        else:
            ports = (settings.port, settings.ollama_port)
            await server.serve([_listening(settings.host, port) for port in ports])


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def main() -> int:
    """Reads the settings and serves."""
    os.umask(0o077)  # stored answers are for this user alone
    try:
        settings = CliApp.run(Settings)
    except ValidationError as error:
        for problem in error.errors():
            field = ".".join(map(str, problem["loc"])) or "host"
            sys.stderr.write(f"error: setting '{field}': {problem['msg']}\n")
        return 2
    if cycle := find_cycle(settings.models):
        sys.stderr.write(f"error: setting 'models': {' → '.join(cycle)} is a circle\n")
        return 2
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(serve(settings))
        except KeyFileError as error:
            sys.stderr.write(f"error: setting 'keys_file': {error}\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
