"""What `toolkit serve` was asked for, and the gateway's command that follows from it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.home import home
from toolkit.serve.watch import Patience


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What to serve and where. `drain_s` is how long running requests may take at the end.

    With `triton_port` a relay listens there, for gateways elsewhere, and no gateway is started;
    who shows the key in `control_key_file` may load and unload there.
    `placement` gives each step its GPUs, and None serves on the CPU.
    With `strict` a model that does not load ends the service. `patience` is for models and Triton.
    """

    repository: Path
    host: str = "127.0.0.1"
    port: int = 9000
    triton_http_port: int | None = None
    triton_port: int | None = None
    ollama_port: int | None = None
    drain_s: float = 20.0
    keys_file: Path | None = None
    open: bool = False
    control_key_file: Path | None = None
    strict: bool = False
    placement: Mapping[str, Mapping[str, object]] | None = None
    patience: Patience = field(default_factory=Patience)
    gateway_timeout_s: float = 30.0
    allowed_hosts: str | None = None
    allowed_origins: str | None = None

    @property
    def listening(self) -> tuple[str, int]:
        """The address that clients are given."""
        return self.host, self.port if self.triton_port is None else self.triton_port

    @property
    def wanted_ports(self) -> list[tuple[str, str, int]]:
        """Option, host and port of each that it listens on."""
        option = "--port" if self.triton_port is None else "--triton-port"
        wanted = [(option, *self.listening)]
        if self.ollama_port is not None:
            wanted.append(("--ollama-port", self.host, self.ollama_port))
        if self.triton_http_port is not None:
            wanted.append(("--triton-http-port", "127.0.0.1", self.triton_http_port))
        return wanted

    def gateway(self, triton: str) -> list[str]:
        """The command of a gateway in front of the Triton at this gRPC address."""
        argv = [sys.executable, "-P", "-m", "frontend", "--host", self.host]
        argv += ["--port", str(self.port), "--triton", triton]
        if self.control_key_file is not None:
            argv += ["--triton-key-file", str(self.control_key_file.absolute())]
        if self.ollama_port is not None:
            argv += ["--ollama-port", str(self.ollama_port)]
        if self.keys_file is not None:
            argv += ["--keys-file", str(self.keys_file.absolute())]
        if self.allowed_hosts is not None:
            argv += ["--allowed-hosts", self.allowed_hosts]
        if self.allowed_origins is not None:
            argv += ["--allowed-origins", self.allowed_origins]
        return [*argv, "--open"] if self.open else argv

    @property
    def logs(self) -> Path:
        """The folder of both children's logs; each start begins them anew."""
        return home() / "logs" / str(self.listening[1])
