"""The command line of `toolkit serve`: its options, and which of them cannot be combined."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from toolkit.cli.detach import FLAGS
from toolkit.cli.device import Device
from toolkit.cli.options import check_triton
from toolkit.errors import UsageError

AGAIN = "toolkit.serve.arguments"
"""In the context: the command line of the same service in the background."""
_BUILT = Path("model_repository")
_AFTER = "settings of the gateway go after `--`, as in `toolkit serve -- --keys-file gateway.keys`"


class PassThrough(TyperCommand):
    """Leaves what follows `--` in `context.args`, for the gateway."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own, rest = args, []
        if "--" in args:
            at = args.index("--")
            own, rest = args[:at], args[at + 1 :]
        again = [arg for arg in own if arg not in FLAGS] + (["--", *rest] if rest else [])
        ctx.meta[AGAIN] = again
        try:
            super().parse_args(ctx, own)  # which empties the list
        except typer.TyperException as error:
            if type(error).__name__ != "NoSuchOption":
                raise
            text = error.format_message().strip().rstrip(".")
            raise UsageError(f"{text[0].lower()}{text[1:]}", hint=_AFTER) from error
        ctx.args = rest
        return rest


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of `toolkit serve`."""

    context: typer.Context
    repository: Annotated[
        Path,
        typer.Argument(
            help="A model repository of `toolkit build-repo`, or one model: hf:ORG/NAME, "
            "a .gguf file, a Hugging Face directory or a name of `toolkit list-available`."
        ),
    ] = _BUILT
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the gateway.")] = 9000
    ollama_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Second port, for tools that expect Ollama's 11434."),
    ] = None
    open: Annotated[
        bool,
        typer.Option(
            "--open",
            envvar="TRITON_FRONTEND_OPEN",
            help="Answer requests without a key. With --triton-only, also from other machines.",
        ),
    ] = False
    triton_only: Annotated[
        bool,
        typer.Option(
            "--triton-only",
            help="Do not start a gateway; open Triton to gateways on other machines.",
        ),
    ] = False
    triton_port: Annotated[
        int, typer.Option(min=1, max=65535, help="With --triton-only: the gRPC port.")
    ] = 8001
    frontend_only: Annotated[
        bool, typer.Option("--frontend-only", help="Do not start Triton; use the one at --triton.")
    ] = False
    triton: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            callback=check_triton,
            help="With --frontend-only: Triton's gRPC address.",
        ),
    ] = None
    wait_s: Annotated[
        float,
        typer.Option(min=0, help="With --frontend-only: seconds to wait until Triton is ready."),
    ] = 0.0
    control_key_file: Annotated[
        Path | None,
        typer.Option(
            envvar="TRITON_TOOLKIT_CONTROL_KEY_FILE",
            exists=True,
            dir_okay=False,
            help="File with NAME=VALUE. With --triton-only: the key that loading and unloading "
            "models requires; without this option, nobody can load or unload models. With"
            " --frontend-only: the key that "
            "the gateway sends.",
        ),
    ] = None
    triton_http_port: Annotated[
        int | None, typer.Option(help="Also open Triton's HTTP API on this loopback port.")
    ] = None
    triton_metrics_port: Annotated[
        int | None,
        typer.Option(
            help="Also open Triton's metrics on this loopback port; the gateway's /metrics then "
            "contains them, too."
        ),
    ] = None
    triton_traces_url: Annotated[
        str,
        typer.Option(
            help="OTLP collector for the spans of Triton's own steps, such as "
            "http://127.0.0.1:4318/v1/traces. They become part of the gateway's traces."
        ),
    ] = ""
    device: Annotated[
        Device,
        typer.Option(
            help="Device for the models. auto: cuda if nvidia-smi shows a usable GPU, otherwise"
            " cpu."
        ),
    ] = Device.AUTO
    context_length: Annotated[
        int | None,
        typer.Option(
            min=16,
            max=100_000_000,
            help="With one model: context length in tokens. Default: the model's maximum, at "
            "most 8192 for language models.",
        ),
    ] = None
    drain_s: Annotated[
        float,
        typer.Option(
            min=0, help="Seconds that running requests have to finish when the service stops."
        ),
    ] = 20.0
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Stop if a model cannot be loaded. Default: serve the others."
        ),
    ] = False
    dead_after_s: Annotated[
        float,
        typer.Option(
            min=1,
            help="Restart a model that does not answer and does not compute for this many seconds.",
        ),
    ] = 60.0
    hung_after_s: Annotated[
        float,
        typer.Option(
            min=0,
            help="Restart a model that computes for this many seconds without finishing a request. "
            "Set it above the longest request. 0: never.",
        ),
    ] = 900.0
    gateway_timeout_s: Annotated[
        float,
        typer.Option(min=1, help="Restart a gateway that does not answer for this many seconds."),
    ] = 30.0
    stop_with_parent: Annotated[
        bool, typer.Option("--stop-with-parent", help="Stop when the parent process ends.")
    ] = False
    detach: Annotated[
        bool,
        typer.Option(
            *FLAGS,
            help="Return when the service is ready and leave it running in the background. "
            "Stop it with `toolkit stop`.",
        ),
    ] = False

    @property
    def single(self) -> bool:
        """Whether one model is served by its source, without a repository that exists."""
        from toolkit.single.source import names_source

        return not self.frontend_only and names_source(str(self.repository))


def check(options: Options) -> None:
    """Raises UsageError for options that cannot be combined, and SourceError if the repository or
    model does not exist."""
    if options.frontend_only != (options.triton is not None):
        raise UsageError(
            "--frontend-only and --triton HOST:PORT must be used together", hint="give both"
        )
    if options.detach and (options.frontend_only or options.stop_with_parent):
        other = "--frontend-only" if options.frontend_only else "--stop-with-parent"
        raise UsageError(f"--detach and {other} cannot be combined", hint="remove one of them")
    # the default folder has an error of its own, which names `toolkit build-repo`
    is_repository = options.repository.is_dir() or options.repository == _BUILT
    if not (options.frontend_only or is_repository):
        from toolkit.single.source import read_source

        read_source(str(options.repository))  # its error names what is like it
    if options.context_length is not None and not options.single:
        raise UsageError(
            "--context-length requires a model instead of a repository",
            hint="set `context_length` in models.yaml and build the repository again",
        )
    _check_traces(options)
    if options.triton_only and options.frontend_only:
        raise UsageError("--triton-only and --frontend-only cannot be combined", hint="give one")
    if options.triton_only and options.context.args:
        raise UsageError(
            "--triton-only does not start a gateway, so gateway settings have no effect",
            hint=f"remove `-- {' '.join(options.context.args)}`",
        )
    # the relay has no keys for inference
    if options.triton_only and not (options.open or _is_loopback(options.host)):
        raise UsageError(
            f"anyone who can reach '{options.host}' could send requests without a key",
            hint="pass --open if that is intended",
        )
    if options.control_key_file is not None:
        from toolkit.serve.connection import Key

        # only for its errors: a key that is too short or readable is refused before the start
        Key.read(options.control_key_file)
        if not (options.triton_only or options.frontend_only):
            raise UsageError(
                "--control-key-file requires --triton-only or --frontend-only",
                hint="on this machine, `toolkit models` needs no key",
            )


def _check_traces(options: Options) -> None:
    if options.triton_traces_url and options.frontend_only:
        raise UsageError(
            "--triton-traces-url and --frontend-only cannot be combined",
            hint="start that Triton with `--trace-config`, see docs/guides/traces.md",
        )
    if not re.fullmatch(r"(https?://[!-~]+)?", url := options.triton_traces_url):
        raise UsageError(
            f"--triton-traces-url is '{url[:80]}', not an http: or https: URL",
            hint="pass the whole URL of the collector, such as http://127.0.0.1:4318/v1/traces",
        )


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
