"""`toolkit serve`: run a built repository, with the gateway in front."""

import ctypes
import json
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from toolkit.cli.device import Device, choose_placement
from toolkit.cli.progress import console_progress
from toolkit.machine import LocalProbe
from toolkit.serve.connection import Key
from toolkit.serve.keys import read_keys
from toolkit.serve.models import check_target
from toolkit.serve.options import ServeOptions
from toolkit.serve.supervisor import Supervisor
from toolkit.serve.waiting import wait_for_triton
from toolkit.serve.watch import Patience

_PR_SET_PDEATHSIG = 1


def serve(
    repository: Annotated[Path, typer.Argument(help="What `toolkit build-repo` wrote.")] = Path(
        "model_repository"
    ),
    host: Annotated[str, typer.Option(help="Address the gateway listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the gateway.")] = 9000,
    ollama_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="A second port, for tools that know Ollama's 11434."),
    ] = None,
    keys_file: Annotated[
        Path | None,
        typer.Option(
            envvar="TRITON_FRONTEND_KEYS_FILE",
            exists=True,
            dir_okay=False,
            help="Callers' keys (`toolkit keys`); requests without one are refused.",
        ),
    ] = None,
    open_: Annotated[
        bool,
        typer.Option(
            "--open",
            envvar="TRITON_FRONTEND_OPEN",
            help="Answer requests without a key, also those of other machines.",
        ),
    ] = False,
    allowed_hosts: Annotated[
        str | None,
        typer.Option(
            envvar="TRITON_FRONTEND_ALLOWED_HOSTS",
            help="Names in `Host` that a gateway without keys answers to, besides loopback's.",
        ),
    ] = None,
    allowed_origins: Annotated[
        str | None,
        typer.Option(
            envvar="TRITON_FRONTEND_ALLOWED_ORIGINS",
            help="Origins of web pages that may use the gateway from a browser (CORS).",
        ),
    ] = None,
    triton: Annotated[
        str | None, typer.Option(help="With --frontend-only: gRPC address of a running Triton.")
    ] = None,
    frontend_only: Annotated[
        bool, typer.Option("--frontend-only", help="Start no Triton; use the one at --triton.")
    ] = False,
    triton_only: Annotated[
        bool,
        typer.Option(
            "--triton-only",
            help="Start no gateway; open inference on Triton's gRPC to gateways elsewhere.",
        ),
    ] = False,
    triton_port: Annotated[
        int, typer.Option(min=1, max=65535, help="With --triton-only: Triton's gRPC port.")
    ] = 8001,
    control_key_file: Annotated[
        Path | None,
        typer.Option(
            envvar="TRITON_TOOLKIT_CONTROL_KEY_FILE",
            exists=True,
            dir_okay=False,
            help="File with NAME=VALUE. With --triton-only: who shows it may load and unload models"
            " by name; without it nobody may. With --frontend-only: what the gateway shows.",
        ),
    ] = None,
    triton_http_port: Annotated[
        int | None, typer.Option(help="Also open Triton's own HTTP API on this loopback port.")
    ] = None,
    device: Annotated[
        Device,
        typer.Option(
            help="What models compute on; auto is cuda where nvidia-smi shows a usable GPU."
        ),
    ] = Device.AUTO,
    wait_s: Annotated[
        float,
        typer.Option(
            min=0, help="With --frontend-only: seconds to wait until Triton has loaded its models."
        ),
    ] = 0.0,
    drain_s: Annotated[
        float, typer.Option(min=0, help="Seconds that running requests may take at the end.")
    ] = 20.0,
    strict: Annotated[
        bool, typer.Option("--strict", help="End when a model does not load; else it is left out.")
    ] = False,
    dead_after_s: Annotated[
        float,
        typer.Option(
            min=1,
            help="Seconds that a model, or Triton, may neither answer nor work before it is started"
            " anew.",
        ),
    ] = 60.0,
    hung_after_s: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds that one may work without finishing anything; more than the longest"
            " request takes. 0: for ever.",
        ),
    ] = 900.0,
    gateway_timeout_s: Annotated[
        float,
        typer.Option(
            min=1, help="Seconds without an answer to /healthz before the gateway is started anew."
        ),
    ] = 30.0,
    stop_with_parent: Annotated[
        bool, typer.Option("--stop-with-parent", help="End when the calling process ends.")
    ] = False,
) -> None:
    """Serve a model repository with Triton and the gateway.

    Needs neither GPU nor Docker. Models compute on NVIDIA GPUs where those can be used, else on the
    CPU. Ctrl-C ends everything in order; a second Ctrl-C ends it now.

    Examples:

        toolkit serve

        toolkit serve model_repository --port 9000 --ollama-port 11434

        toolkit serve --frontend-only --triton gpu-host:8001
    """
    if stop_with_parent:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if triton_only and keys_file is not None:
        raise typer.BadParameter(
            "callers' keys are the gateway's; Triton itself answers whoever reaches it",
            param_hint="--keys-file",
        )
    if keys_file is not None:
        read_keys(keys_file)
    elif not (open_ or is_loopback(host)):
        remedy = "" if triton_only else "name a file of keys (--keys-file), or "
        raise typer.BadParameter(
            f"whoever reaches '{host}' would be answered: {remedy}say --open", param_hint="--host"
        )
    if control_key_file is not None:
        Key.read(control_key_file)
        if not (triton_only or frontend_only):
            raise typer.BadParameter(
                "it goes with --triton-only or --frontend-only", param_hint="--control-key-file"
            )
    options = ServeOptions(
        repository,
        host,
        port,
        triton_http_port=triton_http_port,
        triton_port=triton_port if triton_only else None,
        ollama_port=ollama_port,
        drain_s=drain_s,
        keys_file=keys_file,
        open=open_,
        control_key_file=control_key_file,
        strict=strict,
        patience=Patience(dead_after_s, hung_after_s),
        gateway_timeout_s=gateway_timeout_s,
        allowed_hosts=allowed_hosts,
        allowed_origins=allowed_origins,
    )
    if frontend_only:
        if triton is None:
            raise typer.BadParameter(
                "--frontend-only needs --triton HOST:PORT", param_hint="--triton"
            )
        if wait_s:
            wait_for_triton(triton, wait_s)
        os.umask(0o077)
        os.execv(sys.executable, options.gateway(triton))  # noqa: S606
    if triton is not None:
        raise typer.BadParameter("--triton goes with --frontend-only", param_hint="--triton")
    console = Console(stderr=True)
    tell = partial(console.print, markup=False, highlight=False)
    check_target(repository, "embedded")
    options = replace(options, placement=choose_placement(device, repository, LocalProbe(), tell))
    with console_progress(console) as progress:
        supervisor = Supervisor(options, progress, tell=tell)
        supervisor.run(ready=lambda: _announce(console, supervisor))
    console.print("stopped")


def is_loopback(host: str) -> bool:
    """Whether this machine alone reaches it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _announce(console: Console, supervisor: Supervisor) -> None:
    models, options = supervisor.models, supervisor.options
    address = "{}:{}".format(*options.listening)
    table = Table(box=None, padding=(0, 2), show_edge=False)
    for column in ("model", "kind", "also called"):
        table.add_column(column)
    for model in models:
        aliases = model.parameter("toolkit.aliases").strip("[]").replace('"', "")
        table.add_row(model.name, model.kind or "-", aliases)
    url = f"http://{address}/v1" if options.triton_port is None else f"{address} (gRPC)"
    console.print(f"\n[bold green]Ready[/] at [bold]{url}[/]\n")
    console.print(table)
    console.print(f"\nlogs: {options.logs}    stop: Ctrl-C", highlight=False)
    if options.triton_port is not None:
        gateway = f"toolkit serve --frontend-only --triton {address}"
        console.print(f"the gateway, anywhere: {gateway}\n", highlight=False)
        return
    chats = [model.name for model in models if model.kind == "llm"]
    if chats:
        question = {"role": "user", "content": "What is the capital of France?"}
        body = json.dumps({"model": chats[0], "messages": [question], "temperature": 0})
        console.print("\nTry it:\n")
        console.print(
            f"curl http://{address}/v1/chat/completions -H 'content-type: application/json' \\\n"
            f"  -d '{body}'\n",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
