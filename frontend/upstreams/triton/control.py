"""Triton's control calls: which models are ready or stored, and loading and unloading them."""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Mapping

import grpc
from tritonclient.grpc import model_config_pb2, service_pb2

from frontend.domain.models import Version
from frontend.errors import BackendFailed, BackendUnavailable, InvalidRequest
from frontend.upstreams.triton.connection import Connection
from frontend.upstreams.triton.failures import from_status, is_restricted, is_unknown

_TIMEOUT_S = 5.0
_UNLOAD_TIMEOUT_S = 120.0
_UNLOAD_CHECK_S = 0.1
_LOAD_TIMEOUT_S = 1800  # an engine of many gigabytes
_STATES = {"READY": "loaded", "LOADING": "loading", "UNLOADING": "unloading"}
_log = logging.getLogger(__name__)


async def is_live(connection: Connection) -> bool:
    """Whether the server answers."""
    try:
        answer = await connection.api.ServerLive(
            service_pb2.ServerLiveRequest(), timeout=_TIMEOUT_S
        )
    except grpc.RpcError:
        return False
    return bool(answer.live)


async def ready_versions(connection: Connection) -> dict[str, list[str]]:
    """The versions that are loaded of each model, the newest last. Raises GatewayError when Triton
    is not there."""
    request = service_pb2.RepositoryIndexRequest(ready=True)
    with connection.translated("models"):
        index = await connection.api.RepositoryIndex(
            request, timeout=_TIMEOUT_S, metadata=connection.key
        )
    versions: dict[str, list[str]] = {}
    for model in index.models:
        if model.state == "READY":
            versions.setdefault(model.name, []).append(model.version)
    return {name: sorted(versions[name], key=_number) for name in sorted(versions)}


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else 0


async def ready_configs(
    connection: Connection,
    names: Iterable[str],
    known: Mapping[str, model_config_pb2.ModelConfig] | None = None,
) -> list[model_config_pb2.ModelConfig]:
    """The configs of loaded models. Raises GatewayError when Triton is not there.

    `known`: configs of an earlier call, for models whose config cannot be read now.
    """
    # together: one after the other they would take a round trip for each model
    reads = (_config(connection, name, (known or {}).get(name)) for name in names)
    return [config for config in await asyncio.gather(*reads) if config is not None]


async def _config(
    connection: Connection, name: str, known: model_config_pb2.ModelConfig | None
) -> model_config_pb2.ModelConfig | None:
    """None for a model that went away since the index was read. Raises GatewayError for a first
    read that fails: a model that is loaded must not be taken for one that is not."""
    request = service_pb2.ModelConfigRequest(name=name)
    try:
        answer = await connection.api.ModelConfig(
            request, timeout=_TIMEOUT_S, metadata=connection.key
        )
        config: model_config_pb2.ModelConfig = answer.config
        return config
    except grpc.aio.AioRpcError as error:
        code, details = error.code().name, error.details() or ""
        if code == "NOT_FOUND" or is_unknown(details):
            return None
        if known is None:
            raise from_status(code, details, "models") from None
        return known


async def waited_ns(connection: Connection) -> int | None:
    """What all requests have waited in Triton's queues; None where it does not say it."""
    request = service_pb2.ModelStatisticsRequest()
    try:
        answer = await connection.api.ModelStatistics(
            request, timeout=_TIMEOUT_S, metadata=connection.key
        )
    except grpc.RpcError:
        return None  # its operator may restrict the call
    return sum(int(one.inference_stats.queue.ns) for one in answer.model_stats)


async def stored(connection: Connection) -> dict[str, list[Version]]:
    """All models in the repository, with their versions that were ever loaded. Raises GatewayError
    if Triton does not answer."""
    with connection.translated("repository"):
        index = await connection.api.RepositoryIndex(
            service_pb2.RepositoryIndexRequest(), timeout=_TIMEOUT_S, metadata=connection.key
        )
    used = await _last_uses(connection)
    models: dict[str, list[Version]] = {}
    for one in index.models:
        versions = models.setdefault(one.name, [])
        if one.version:
            state = _state(one.state, one.reason)
            versions.append(Version(one.version, state, used.get((one.name, one.version))))
    return models


def _state(state: str, reason: str) -> str:
    # an old failure is UNAVAILABLE as well; its text may show paths or prompts, and stays here
    failed = state == "UNAVAILABLE" and reason not in ("", "unloaded")
    return "failed" if failed else _STATES.get(state, "unloaded")


async def _last_uses(connection: Connection) -> dict[tuple[str, str], float]:
    """When each version was last used by anybody, in seconds since 1970."""
    try:
        answer = await connection.api.ModelStatistics(
            service_pb2.ModelStatisticsRequest(), timeout=_TIMEOUT_S, metadata=connection.key
        )
    except grpc.RpcError:
        return {}  # an operator may restrict the call
    stats = answer.model_stats
    return {
        (one.name, one.version): one.last_inference / 1000 for one in stats if one.last_inference
    }


async def load(connection: Connection, name: str) -> None:
    """Loads a model and its steps as they are on disk. Raises BackendFailed if Triton
    cannot load it, and NotSupported if Triton does not allow the call."""
    request = service_pb2.RepositoryModelLoadRequest(model_name=name)
    try:
        await connection.api.RepositoryModelLoad(
            request, timeout=_LOAD_TIMEOUT_S, metadata=connection.key
        )
    except grpc.aio.AioRpcError as error:
        if is_restricted(error.code().name, error.details() or ""):
            raise from_status(error.code().name, error.details() or "", name) from None
        _log.error("%s does not load", name, extra={"upstream_text": error.details()})
        raise BackendFailed(
            f"the model '{name}' cannot be loaded; Triton's log has the reason"
        ) from None


async def unload(connection: Connection, name: str) -> None:
    """Unloads a model and the steps that no other model uses; returns when they are unloaded.
    Raises InvalidRequest for a step of another model, and GatewayError if Triton fails."""
    configs = await ready_configs(connection, await ready_versions(connection))
    steps = {c.name: {step.model_name for step in c.ensemble_scheduling.step} for c in configs}
    own = steps.pop(name, set())
    if users := sorted(user for user, used in steps.items() if name in used):
        raise InvalidRequest(f"'{name}' is a step of '{users[0]}'", param="model")
    # the ensemble first, because its steps are in use as long as it is loaded
    for each in (name, *sorted(own.difference(*steps.values()))):
        request = service_pb2.RepositoryModelUnloadRequest(model_name=each)
        with connection.translated(each):
            await connection.api.RepositoryModelUnload(
                request, timeout=_LOAD_TIMEOUT_S, metadata=connection.key
            )
    await _wait_until_unloaded(connection, {name, *own})


async def _wait_until_unloaded(connection: Connection, names: Collection[str]) -> None:
    """Waits, since the call returns immediately: running requests, and an engine's end, take
    seconds, in which the memory is still used. Raises BackendUnavailable after the time limit."""
    ends_s = time.monotonic() + _UNLOAD_TIMEOUT_S
    while True:
        index = await stored(connection)
        states = {version.state for name in names for version in index.get(name, ())}
        if "unloading" not in states:
            return
        if time.monotonic() > ends_s:
            raise BackendUnavailable("the model still has requests, and is unloaded after them")
        await asyncio.sleep(_UNLOAD_CHECK_S)
