"""Where the gateway listens, who may call it, and how it ends."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from frontend.settings.checks import check_networks
from frontend.settings.group import Group, parts


class ServerSettings(Group):
    """The server and its callers."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=9000, ge=0, le=65535, description="Port to listen on.")
    ollama_port: int | None = Field(
        default=None, ge=1, le=65535, description="Second port, for tools that expect Ollama's."
    )
    health_socket: Path | None = Field(
        default=None,
        description="Unix socket that also serves GET /healthz, for the process that supervises the"
        " gateway. Limits on connections do not apply to it.",
    )
    keys_file: Path | None = Field(
        default=None,
        description="File of the callers' keys (`triton-gateway keys`); requests without one are"
        " refused.",
    )
    require_keys: bool = Field(
        default=False,
        description="Refuse requests without a key, which is in the database (`triton-gateway keys"
        " create`) or in the key file.",
    )
    open: bool = Field(
        default=False,
        description="Accept requests without a key even if there is a key file. Only for loopback"
        " addresses.",
    )
    open_to_network: bool = Field(
        default=False,
        description="Accept requests without a key from everyone who can reach the gateway: for"
        " a container whose port is published only on loopback, or behind a proxy that"
        " authenticates callers.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Networks of proxies whose `X-Forwarded-For` is trusted:"
        " `10.0.0.0/8,192.0.2.7`. Keys that are limited to networks and limits on failed attempts"
        " use the address.",
    )
    allowed_hosts: str = Field(
        # names under which containers of Docker and Podman reach their host
        default="host.docker.internal,host.containers.internal",
        description="Host names that a gateway without keys accepts in `Host`, besides loopback:"
        " `llm.example.com,*.example.com`; `*` for any.",
    )
    allowed_origins: str = Field(
        default="",
        description="Origins of web pages that may use the gateway from a browser (CORS):"
        " `https://chat.example.com,app://*`; `*` for any. Default: none but its own pages.",
    )
    public_url: str = Field(
        default="",
        pattern=r"^(https?://[^/?#\s]+(/[^?#\s]*)?)?$",
        description="The gateway's public URL, for links in answers. Default: the request's.",
    )
    drain_s: float = Field(
        default=20,
        ge=0,
        description="Seconds that running requests have to finish after SIGTERM; after Ctrl-C"
        " (SIGINT) at most 1.",
    )
    # proxies commonly cut a silent connection after 30 to 60 s
    heartbeat_s: float = Field(
        default=10, gt=0, description="Seconds without events after which a stream sends a comment."
    )
    unknown_fields: str = Field(
        default="refuse",
        pattern="^(refuse|warn)$",
        description="How unknown fields of a request body are handled: `refuse`, or `warn` in a"
        " header and ignore them.",
    )

    @model_validator(mode="after")
    def _is_guarded(self) -> Self:
        if not (self.keys_are_required or self.open_to_network or _is_loopback(self.host)):
            also = "; --open is for loopback addresses only" if self.open else ""
            raise ValueError(
                f"a gateway on '{self.host}' answers everyone who can reach it{also}: require keys"
                " of the database (--require-keys), pass a file of keys (--keys-file), or listen on"
                " 127.0.0.1. Where only a container's published port or a proxy reaches it, pass"
                " --open-to-network"
            )
        for flag, given in (("open", self.open), ("open-to-network", self.open_to_network)):
            if self.require_keys and given:
                text = f"--require-keys and --{flag} cannot be combined; pass one of them"
                raise ValueError(text)
        return self

    @field_validator("trusted_proxies")
    @classmethod
    def _are_proxies(cls, value: str) -> str:
        return check_networks(value)

    @property
    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """`trusted_proxies`, one by one."""
        return tuple(map(ip_network, parts(self.trusted_proxies)))

    @property
    def keys_are_required(self) -> bool:
        """Whether a request without a valid key is refused."""
        is_open = self.open or self.open_to_network
        return not is_open and (self.require_keys or self.keys_file is not None)

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        for part in parts(value):
            if part != "*" and not re.fullmatch(r"[a-zA-Z][\w+.-]*://[^/\s]+", part):
                raise ValueError(f"'{part}' is not an origin such as 'https://chat.example.com'")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, value: str) -> str:
        for part in parts(value):
            if "/" in part or (":" in part.rpartition("]")[2] and part.count(":") == 1):
                raise ValueError(f"'{part}' is not a name or an address without a port")
        return value

    @property
    def hosts(self) -> list[str]:
        """`allowed_hosts`, one by one."""
        return parts(self.allowed_hosts)

    @property
    def origins(self) -> list[str]:
        """`allowed_origins`, one by one."""
        return parts(self.allowed_origins)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
