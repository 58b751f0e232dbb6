"""The options of `toolkit serve`, and the gateway's command line that they result in."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.errors import UsageError
from toolkit.home import home
from toolkit.serve.watch import Timeouts

OURS = ("host", "port", "ollama-port", "open", "drain-s", "triton", "triton-key-file")
"""Settings of the gateway that `toolkit serve` sets from its own options."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What to serve and where. `drain_s` is how long running requests may take at the end.

    With `triton_port` a relay listens there, for gateways elsewhere, and no gateway is started;
    clients with the key in `control_key_file` may load and unload there.
    `placement` gives each step its GPUs, and None serves on the CPU.
    With `strict` a model that does not load ends the service. `timeouts` are for models and Triton.
    `gateway` are further settings of the gateway, as flags.
    """

    repository: Path
    host: str = "127.0.0.1"
    port: int = 9000
    triton_http_port: int | None = None
    triton_metrics_port: int | None = None
    triton_traces_url: str = ""
    triton_port: int | None = None
    ollama_port: int | None = None
    drain_s: float = 20.0
    open: bool = False
    control_key_file: Path | None = None
    strict: bool = False
    placement: Mapping[str, Mapping[str, object]] | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    gateway_timeout_s: float = 30.0
    gateway: tuple[str, ...] = ()

    @property
    def listening(self) -> tuple[str, int]:
        """The address that clients use."""
        return self.host, self.port if self.triton_port is None else self.triton_port

    @property
    def url(self) -> str:
        """Where this machine reaches the gateway; "" when none is started."""
        return "" if self.triton_port is not None else f"http://{_reachable(self.host)}:{self.port}"

    @property
    def ports(self) -> list[tuple[str, str, int]]:
        """Option, host and port of each address that it listens on."""
        option = "--port" if self.triton_port is None else "--triton-port"
        ports = [(option, *self.listening)]
        if self.ollama_port is not None:
            ports.append(("--ollama-port", self.host, self.ollama_port))
        if self.triton_http_port is not None:
            ports.append(("--triton-http-port", "127.0.0.1", self.triton_http_port))
        if self.triton_metrics_port is not None:
            ports.append(("--triton-metrics-port", "127.0.0.1", self.triton_metrics_port))
        return ports

    def gateway_command(self, triton: str, command: str = "serve") -> list[str]:
        """A command of the gateway, with its settings for the Triton at `triton`.

        Raises UsageError for a setting that is an option of `toolkit serve`.
        """
        for flag in self.gateway:
            # also `--name=value` and the negative form of a switch
            name = flag.partition("=")[0].removeprefix("--").removeprefix("no-")
            if flag.startswith("--") and name in OURS:
                option = "control-key-file" if name == "triton-key-file" else name
                raise UsageError(
                    f"--{name} is an option of `toolkit serve`",
                    hint=f"pass --{option} before `--`",
                )
        argv = [sys.executable, "-P", "-m", "frontend", command, "--host", self.host]
        argv += ["--port", str(self.port), "--triton", triton, "--drain-s", str(self.drain_s)]
        if triton.startswith("unix:"):  # this service's own Triton
            argv += ["--repository", str(self.repository.absolute())]
        if self.control_key_file is not None:
            argv += ["--triton-key-file", str(self.control_key_file.absolute())]
        if self.ollama_port is not None:
            argv += ["--ollama-port", str(self.ollama_port)]
        if self.triton_metrics_port is not None:
            url = f"http://127.0.0.1:{self.triton_metrics_port}/metrics"
            argv += ["--metrics-urls", json.dumps({"triton": url})]
        if self.open:
            argv.append("--open")
        return [*argv, *self.gateway]

    def check_gateway(self) -> None:
        """Lets the gateway check its settings and its key file before anything is started.

        Raises UsageError with the gateway's message.
        """
        argv = self.gateway_command("127.0.0.1:8001", "check")
        ran = subprocess.run(argv, capture_output=True, text=True, check=False)
        if ran.returncode:
            said, _, hint = ran.stderr.strip().partition("\nhint: ")
            text = said.removeprefix("error: ").replace("\nerror: ", "\n")
            raise UsageError(
                text, hint=hint or "triton-gateway --help lists the gateway's settings"
            )

    @property
    def logs(self) -> Path:
        """The folder of both children's logs; each start empties them."""
        return home() / "logs" / str(self.listening[1])


def _reachable(host: str) -> str:
    """The address at which this machine reaches what listens on `host`, as a URL has it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{host}]" if ":" in host else host
