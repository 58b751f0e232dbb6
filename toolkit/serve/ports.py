"""Checks before anything is loaded that the service's ports are free, and names their owners."""

import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import psutil

from toolkit.errors import ServeError
from toolkit.serve.record import live_records


def check_free(ports: Iterable[tuple[str, str, int]]) -> None:
    """Raises ServeError for the first (option, host, port) that cannot be listened on."""
    seen: dict[int, str] = {}
    for option, host, port in ports:
        if port in seen:
            raise ServeError(
                f"{option} and {seen[port]} are both {port}", hint="choose two different ports"
            )
        seen[port] = option
        for family, _, _, _, address in _addresses(host, port):
            with socket.socket(family, socket.SOCK_STREAM) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    # the IPv6 port alone: the IPv4 address is asked for by itself
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                try:
                    listener.bind(address)
                except OSError as error:
                    reason = _owner(port) or error.strerror
                    raise ServeError(
                        f"cannot listen on {host}:{port}: {reason}", hint=f"choose another {option}"
                    ) from error
        if owner := _service(port):  # a service that is still loading does not listen yet
            raise ServeError(
                f"cannot listen on {host}:{port}: {owner}", hint=f"choose another {option}"
            )


def _addresses(host: str, port: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ServeError(
            f"'{host}' is not an address: {error.strerror}", hint="check --host"
        ) from error
    return addresses  # type: ignore[return-value]


def _owner(port: int) -> str | None:
    """Who listens there, as far as this user can see."""
    if service := _service(port):
        return service
    # other users' processes cannot be looked into
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            local: Any = connection.laddr
            listens = connection.status == psutil.CONN_LISTEN and local.port == port
            if listens and connection.pid is not None:
                process = psutil.Process(connection.pid)
                command = " ".join(process.cmdline())[:100]
                return f"process {process.pid} uses it ({command or process.name()})"
    return None


def _service(port: int) -> str | None:
    for record in live_records():
        if record.port == port:
            return f"`toolkit serve` of {record.repository} (process {record.pid}) uses it"
    return None
