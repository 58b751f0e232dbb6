"""`toolkit serve`: run a built repository, with the gateway in front."""

import os
import signal
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from toolkit.cli.announce import announce
from toolkit.cli.detach import FLAGS, detach
from toolkit.cli.device import Device
from toolkit.cli.options import takes
from toolkit.cli.output import say
from toolkit.cli.progress import console_progress
from toolkit.errors import ToolkitError, UsageError

if TYPE_CHECKING:
    from toolkit.serve.options import ServeOptions

_PR_SET_PDEATHSIG = 1
_BUILT = Path("model_repository")
_AGAIN = "toolkit.serve.arguments"
"""In the context: the command line of the same service in the background."""
_AFTER = "settings of the gateway go after `--`, as in `toolkit serve -- --keys-file gateway.keys`"


class PassThrough(TyperCommand):
    """Leaves what follows `--` in `context.args`, for the gateway."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own, rest = args, []
        if "--" in args:
            at = args.index("--")
            own, rest = args[:at], args[at + 1 :]
        again = [arg for arg in own if arg not in FLAGS] + (["--", *rest] if rest else [])
        ctx.meta[_AGAIN] = again
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
            help="The model repository that `toolkit build-repo` wrote; or one model: hf:ORG/NAME, "
            "a .gguf file, a Hugging Face directory or a name of `toolkit list-available`."
        ),
    ] = _BUILT
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the gateway.")] = 9000
    ollama_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="A second port, for tools that expect Ollama's 11434."),
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
            "--triton-only", help="Start no gateway; open Triton to gateways on other machines."
        ),
    ] = False
    triton_port: Annotated[
        int, typer.Option(min=1, max=65535, help="With --triton-only: the gRPC port.")
    ] = 8001
    frontend_only: Annotated[
        bool, typer.Option("--frontend-only", help="Start no Triton; use the one at --triton.")
    ] = False
    triton: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="With --frontend-only: Triton's gRPC address."),
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
            "models requires; without this option nobody can. With --frontend-only: the key that "
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
            "has them, too."
        ),
    ] = None
    device: Annotated[
        Device,
        typer.Option(
            help="What models compute on. auto: cuda if nvidia-smi shows a usable GPU, else cpu."
        ),
    ] = Device.AUTO
    context_length: Annotated[
        int | None,
        typer.Option(
            min=16,
            help="With one model: tokens of prompt and answer together. Default: the model's "
            "maximum, at most 8192 for language models.",
        ),
    ] = None
    drain_s: Annotated[
        float, typer.Option(min=0, help="Seconds that running requests get to finish at the end.")
    ] = 20.0
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Stop if a model does not load. Default: serve the others."),
    ] = False
    dead_after_s: Annotated[
        float,
        typer.Option(
            min=1, help="Restart a model that neither answers nor works for so many seconds."
        ),
    ] = 60.0
    hung_after_s: Annotated[
        float,
        typer.Option(
            min=0,
            help="Restart a model that works for so many seconds without finishing a request; set "
            "it above the longest request. 0: never.",
        ),
    ] = 900.0
    gateway_timeout_s: Annotated[
        float,
        typer.Option(min=1, help="Restart a gateway that does not answer for so many seconds."),
    ] = 30.0
    stop_with_parent: Annotated[
        bool, typer.Option("--stop-with-parent", help="Stop when the parent process ends.")
    ] = False
    detach: Annotated[
        bool,
        typer.Option(
            *FLAGS,
            help="Return when the service is ready, and leave it running in the background. "
            "`toolkit stop` stops it.",
        ),
    ] = False

    @property
    def single(self) -> bool:
        """Whether one model is served by its source, without a repository that exists."""
        from toolkit.single.source import names_source

        return not self.frontend_only and names_source(str(self.repository))


@takes(Options, cls=PassThrough)
def serve(options: Options) -> None:
    """Serve a model repository with Triton and the gateway.

    Needs neither a GPU nor Docker. Models compute on NVIDIA GPUs where those can be used.
    Settings of the gateway go after `--`; `triton-gateway --help` lists them. Ctrl-C stops the
    service; a second Ctrl-C kills it.

    Examples:

        toolkit serve

        toolkit serve hf:Qwen/Qwen3-0.6B

        toolkit serve model.gguf --context-length 4096 --detach

        toolkit serve --ollama-port 11434 -- --max-waiting 100

        toolkit serve --host 0.0.0.0 -- --keys-file gateway.keys

        toolkit serve --frontend-only --triton gpu-host:8001
    """
    if options.stop_with_parent:
        # first: a parent that ends during the checks must end this process, too
        _stop_with_parent()
    _check(options)
    chosen = _serve_options(options)
    if options.frontend_only:
        _run_gateway(options, chosen)
    if not options.triton_only:
        # a wrong setting is found now, not a minute later when the models are loaded
        chosen.check_gateway()
    if options.detach:
        detach(chosen, options.context.meta[_AGAIN])
        return
    if options.single:
        from toolkit.cli.single import build_single, plan_single

        repository = build_single(plan_single(str(options.repository), options.context_length))
        options = replace(options, repository=repository)
        chosen = replace(chosen, repository=repository)
    chosen = replace(chosen, placement=_placement(options))
    _supervise(chosen)
    say("stopped")


def _supervise(chosen: "ServeOptions") -> None:
    """Serves until a signal; what is printed meanwhile is also in the service's log."""
    from toolkit.serve import journal
    from toolkit.serve.background import BACKGROUND
    from toolkit.serve.supervisor import Supervisor

    log = chosen.logs / journal.FILE
    quiet = BACKGROUND in os.environ

    def ready() -> None:
        journal.write(log, f"ready at {chosen.url or '{}:{}'.format(*chosen.listening)}")
        if not quiet:
            loaded = {model.name for model in supervisor.models}
            waiting = [one for one in supervisor.known if one.is_on_demand]
            announced = [*supervisor.models, *(one for one in waiting if one.name not in loaded)]
            announce(chosen, announced, stop="Ctrl-C")

    with console_progress() as progress:
        supervisor = Supervisor(chosen, progress, report=journal.logged(log, say))
        try:
            supervisor.run(ready)
        except ToolkitError as error:
            journal.write(log, error.message)
            raise
    journal.write(log, "stopped")


def _placement(options: Options) -> dict[str, dict[str, Any]] | None:
    from toolkit.cli.device import choose_placement
    from toolkit.machine import LocalMachine
    from toolkit.serve.models import check_target

    check_target(options.repository, "embedded")
    return choose_placement(options.device, options.repository, LocalMachine(), say)


def _stop_with_parent() -> None:
    import ctypes

    # SIGTERM, not SIGKILL: the service ends in order
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _check(options: Options) -> None:
    """Refuses options that cannot be combined. Raises UsageError."""
    if options.frontend_only != (options.triton is not None):
        raise UsageError(
            "--frontend-only and --triton HOST:PORT require each other", hint="give both"
        )
    if options.detach and (options.frontend_only or options.stop_with_parent):
        other = "--frontend-only" if options.frontend_only else "--stop-with-parent"
        raise UsageError(f"--detach and {other} exclude each other", hint="remove one of them")
    # the default folder has an error of its own, which names `toolkit build-repo`
    if not (options.frontend_only or options.repository.exists()) and options.repository != _BUILT:
        from toolkit.single.source import read_source

        read_source(str(options.repository))  # its error names what is like it
    if options.context_length is not None and not options.single:
        raise UsageError(
            "--context-length requires a model instead of a repository",
            hint="set `context_length` in models.yaml and build the repository again",
        )
    if options.triton_only and options.frontend_only:
        raise UsageError("--triton-only and --frontend-only exclude each other", hint="give one")
    if options.triton_only and options.context.args:
        raise UsageError(
            "--triton-only does not start a gateway, so gateway settings have no effect",
            hint=f"remove `-- {' '.join(options.context.args)}`",
        )
    # the relay has no keys for inference
    if options.triton_only and not (options.open or _is_loopback(options.host)):
        raise UsageError(
            f"anyone who can reach '{options.host}' could send requests without a key",
            hint="give --open if that is intended",
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


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _serve_options(options: Options) -> "ServeOptions":
    from toolkit.serve.options import ServeOptions
    from toolkit.serve.watch import Timeouts

    shared = {field.name for field in fields(Options)} & {f.name for f in fields(ServeOptions)}
    shared -= {"repository", "triton_port"}
    chosen: dict[str, Any] = {name: getattr(options, name) for name in shared}
    return ServeOptions(
        options.repository,
        triton_port=options.triton_port if options.triton_only else None,
        timeouts=Timeouts(options.dead_after_s, options.hung_after_s),
        gateway=tuple(options.context.args),
        **chosen,
    )


def _run_gateway(options: Options, chosen: "ServeOptions") -> None:
    """Becomes the gateway; does not return."""
    assert options.triton is not None
    command = chosen.gateway_command(options.triton)
    if options.wait_s:
        from toolkit.serve.connection import wait_until_ready

        with console_progress() as progress, progress.step(f"wait for Triton at {options.triton}"):
            wait_until_ready(options.triton, options.wait_s)
    os.umask(0o077)
    # exec: signals and the exit code are the gateway's, without a process between
    os.execv(command[0], command)  # noqa: S606
