"""`toolkit serve`: run a built repository, with the gateway in front."""

import os
import signal
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from toolkit.cli.announce import announce
from toolkit.cli.detach import detach
from toolkit.cli.options import takes
from toolkit.cli.output import say
from toolkit.cli.progress import console_progress
from toolkit.cli.serve_options import AGAIN, Options, PassThrough, check
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from toolkit.serve.options import ServeOptions

_PR_SET_PDEATHSIG = 1


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
    check(options)
    chosen = _serve_options(options)
    if options.frontend_only:
        _run_gateway(options, chosen)
    if not options.triton_only:
        # a wrong setting is found now, not a minute later when the models are loaded
        chosen.check_gateway()
    if options.detach:
        detach(chosen, options.context.meta[AGAIN])
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
