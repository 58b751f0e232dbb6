"""Finds the service that has a model, or starts one in the background."""

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from toolkit.cli.output import say
from toolkit.cli.progress import console_progress
from toolkit.errors import ServeError, ToolkitError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.serve.record import Record

_REPOSITORY = Path("model_repository")
_PORT = 9000
_POLL_S = 0.2


class ServiceOptions(Protocol):
    """The options of a command that choose the service."""

    @property
    def port(self) -> int | None: ...

    @property
    def api_key(self) -> str | None: ...

    @property
    def context_length(self) -> int | None: ...


def find_gateway(model: str, options: ServiceOptions) -> tuple[str, str]:
    """The address of the gateway that serves `model`, and its name there; starts a service if none
    serves it.

    Raises ServeError if no service can be used, and SourceError for a name that is neither served
    nor a source.
    """
    from toolkit.serve.record import READY, STARTING, find_service, live_records

    if options.port is not None:
        return find_service(options.port).url, model
    services = [record for record in live_records() if record.url]
    for record in services:
        if record.state == READY and _serves(record, model, options.api_key):
            if options.context_length is not None:
                say(f"{model} is already served, so --context-length has no effect")
            return record.url, model
    # loads in progress are waited for, else two services would load one model
    for record in services:
        if record.state == STARTING and _has(Path(record.repository), model):
            return _when_ready(record), model
    return _start(model, options, [record for record in services if record.state == READY])


def _serves(record: "Record", model: str, key: str | None) -> bool:
    """Also a gateway that requires another key, whose error then says so."""
    from toolkit.chat.client import Client, RefusedError

    try:
        with Client(record.url, key) as client:
            return client.model(model) is not None
    except RefusedError as error:
        # without a key the gateway does not list models; its repository is on this disk
        return error.status in (401, 403) and _has(Path(record.repository), model)
    except ServeError:
        return False  # it is ending, or hangs


def _when_ready(record: "Record") -> str:
    from toolkit.serve.record import READY, live_records

    with console_progress() as progress, progress.step(f"wait for the service at {record.url}"):
        while True:
            known = {each.pid: each for each in live_records()}
            if record.pid not in known:
                raise ServeError(f"the service at {record.url} ended", hint="toolkit serve")
            if known[record.pid].state == READY:
                return record.url
            time.sleep(_POLL_S)


def _start(model: str, options: ServiceOptions, services: "list[Record]") -> tuple[str, str]:
    from toolkit.cli.single import build_single, plan_single
    from toolkit.serve.background import start_service
    from toolkit.single.source import names_source

    name = model
    if names_source(model):
        single = plan_single(model, options.context_length)
        for record in services:
            # it is served under the name of its entry, not under the text that was typed
            if Path(record.repository) == single.repository:
                return record.url, single.name
        repository, name = build_single(single), single.name
    elif _has(_REPOSITORY, model):
        repository = _REPOSITORY
    else:
        raise _unknown(model, services, options.api_key)
    port = _free_port()
    say(f"starting a service for {name}; stop it with `toolkit stop --port {port}`")
    record = start_service([str(repository), "--port", str(port)], say)
    return record.url, name


def _has(repository: Path, model: str) -> bool:
    return model in _names([repository])


def _names(repositories: "Sequence[Path]") -> list[str]:
    """Names and aliases of the models in those that can be read."""
    from toolkit.errors import RepositoryError
    from toolkit.serve.models import public_models

    names: list[str] = []
    for repository in repositories:
        with suppress(RepositoryError):
            for each in public_models(repository):
                names += [each.name, *each.aliases]
    return names


def _unknown(model: str, services: "list[Record]", key: str | None) -> ToolkitError:
    """Why nothing can answer: what is served and what could be."""
    from toolkit.chat.client import Client
    from toolkit.names import close_models
    from toolkit.single.source import read_source

    served: list[str] = []
    for record in services:
        with suppress(ServeError), Client(record.url, key) as client:
            served += [each.name for each in client.models()]
    repositories = [_REPOSITORY, *(Path(record.repository) for record in services)]
    if near := close_models(model, [*served, *_names(repositories)], 1):
        return ServeError(f"'{model}' is not served", hint=f"did you mean {near[0]}?")
    try:
        read_source(model)
    except ToolkitError as error:
        if served:
            return UsageError(
                f"'{model}' is not served, and is neither a file nor a known model",
                hint=f"served: {', '.join(served)}; `toolkit list-available` shows models that"
                " you can serve",
            )
        return error
    return ServeError(f"'{model}' is not served", hint="toolkit list-available")


def _free_port() -> int:
    """9000, or the next port that is free."""
    from toolkit.serve.ports import check_free

    for port in range(_PORT, _PORT + 100):
        with suppress(ServeError):
            check_free([("--port", "127.0.0.1", port)])
            return port
    # the service's own check then says who uses it
    return _PORT
