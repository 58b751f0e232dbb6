"""Connects to a running Triton by gRPC for control calls, with readable errors.

It knows addresses, keys and Triton's error messages, but not models.
"""

import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from toolkit.errors import ServeError

_SHORTEST = 16
_READY_CALL_S, _READY_POLL_S = 5.0, 0.5
# gRPC's default is 4 MiB, and configs and images may be larger
_UNBOUNDED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@dataclass(frozen=True, slots=True)
class Key:
    """The key of a restricted protocol: `NAME=VALUE` of Triton's --grpc-restricted-protocol."""

    name: str
    value: str

    @property
    def header(self) -> str:
        """The metadata entry that carries it."""
        return f"triton-grpc-protocol-{self.name}"

    @classmethod
    def read(cls, path: Path) -> "Key":
        """The key in a file that no other user can read. Raises ServeError if the file cannot be
        read, others can read it, or the key is too short."""
        try:
            mode, text = path.stat().st_mode, path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ServeError(f"the key file cannot be read: {error}") from error
        # a group may read it, as with secrets that Kubernetes mounts for `fsGroup`
        if mode & 0o007:
            raise ServeError(
                f"all users of this machine can read the key in {path}", hint=f"chmod 600 {path}"
            )
        key = cls.parse(text)
        if len(key.value) < _SHORTEST:
            raise ServeError(
                f"the key in {path} is shorter than {_SHORTEST} characters",
                hint=f"(umask 077; echo control=$(openssl rand -hex 32) > {path})",
            )
        return key

    @classmethod
    def parse(cls, text: str) -> "Key":
        """Parses `NAME=VALUE`, or `@FILE` that contains it. Raises ServeError for another text."""
        if text.startswith("@"):
            return cls.read(Path(text[1:]))
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise ServeError(
                "a key must be NAME=VALUE, or @FILE with it",
                hint="use the name and the value of Triton's --grpc-restricted-protocol",
            )
        return cls(name.lower(), value)


class _Details(
    namedtuple("_Details", ("method", "timeout", "metadata", "credentials", "wait_for_ready")),
    grpc.ClientCallDetails,
):
    compression = None


class _WithKey(
    grpc.UnaryUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds the key to every call."""

    def __init__(self, key: Key) -> None:
        self._entry = (key.header, key.value)

    def intercept_unary_unary(self, go_on: Callable[..., Any], call: Any, request: Any) -> Any:
        return go_on(self._keyed(call), request)

    def intercept_stream_stream(self, go_on: Callable[..., Any], call: Any, requests: Any) -> Any:
        return go_on(self._keyed(call), requests)

    def _keyed(self, call: Any) -> _Details:
        metadata = [*(call.metadata or ()), self._entry]
        return _Details(call.method, call.timeout, metadata, call.credentials, call.wait_for_ready)


@contextmanager
def connected(
    address: str, key: Key | None = None
) -> Iterator[service_pb2_grpc.GRPCInferenceServiceStub]:
    """Triton's calls at `address` (`HOST:PORT` or `unix:PATH`) until the block ends."""
    with grpc.insecure_channel(address, options=_UNBOUNDED) as channel:
        opened = grpc.intercept_channel(channel, _WithKey(key)) if key else channel
        yield service_pb2_grpc.GRPCInferenceServiceStub(opened)


def wait_until_ready(address: str, timeout_s: float) -> None:
    """Returns when the Triton at `address` has loaded its models. Raises ServeError on timeout."""
    deadline = time.monotonic() + timeout_s
    request = service_pb2.ServerReadyRequest()
    with connected(address) as api:
        while True:
            with suppress(grpc.RpcError):
                if api.ServerReady(request, timeout=_READY_CALL_S).ready:
                    return
            if time.monotonic() > deadline:
                raise ServeError(
                    f"Triton at {address} is not ready after {timeout_s:g} s",
                    hint="read its log; to wait longer, pass --wait-s",
                )
            time.sleep(_READY_POLL_S)


@contextmanager
def triton_errors(doing: str) -> Iterator[None]:
    """Turns gRPC errors into a ServeError whose message begins with `doing`."""
    try:
        yield
    except grpc.RpcError as error:
        raise serve_error(doing, error) from error


def serve_error(doing: str, error: grpc.RpcError) -> ServeError:
    """A readable error, with a hint if there is a known fix."""
    code, text = error.code(), (error.details() or "").strip()
    # the relay's own text (relay.py)
    if "by its name" in text:
        return ServeError(
            f"{doing}: this Triton loads models only by name",
            hint="choose versions on the machine of the service: toolkit models load --port",
        )
    # Triton sends UNAVAILABLE for it, which looks as if trying again would help
    if "restricted" in text:
        return ServeError(
            f"{doing}: this Triton restricts the call",
            hint="pass the key: --key NAME=VALUE or --key @FILE",
        )
    if "explicit model load / unload is not allowed" in text:
        return ServeError(
            f"{doing}: this Triton does not allow loading and unloading models",
            hint="start it with --model-control-mode=explicit",
        )
    if code is grpc.StatusCode.UNAVAILABLE:
        return ServeError(
            f"{doing}: Triton cannot be reached: {text}",
            hint="--triton requires the HOST:PORT of Triton's gRPC (by default port 8001), not"
            " of HTTP",
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ServeError(
            f"{doing}: Triton did not answer in time",
            hint="it may still be working, see `toolkit models list`; to wait longer, pass"
            " --timeout-s",
        )
    return ServeError(f"{doing}: {text or code.name}")
