"""`toolkit models`: what a running Triton serves, and changing that while the rest goes on."""

from typing import Annotated, Any

import typer

from toolkit.cli.canary import canary
from toolkit.cli.endpoint import (
    Endpoint,
    Json,
    KeyText,
    Name,
    Port,
    Timeout,
    TritonAddress,
    prepare,
    run,
)
from toolkit.cli.status import (
    described,
    first_line,
    new_table,
    numbers,
    on_disk,
    policy_of,
    print_json,
    print_table,
    say,
    state,
    tell_loaded,
    work_of,
)
from toolkit.progress import Progress
from toolkit.serve.control import Control, ModelStatus, Steps, steps_of

models = typer.Typer(
    help="List, load, unload and test the models of a running Triton.",
    no_args_is_help=True,
)


@models.command("list")
def list_(
    steps: Annotated[bool, typer.Option("--steps", help="Also steps of ensembles.")] = False,
    port: Port = None,
    triton: TritonAddress = None,
    key: KeyText = None,
    as_json: Json = False,
) -> None:
    """List the models of the repository: which are loaded, in which versions, and why not.

    Examples:

        toolkit models list

        toolkit models list --triton gpu-host:8001 --steps --json
    """
    with Endpoint(port, triton, key).control() as control:
        found = [each for each in control.models().values() if steps or each.public]
    if as_json:
        print_json([described(each) for each in found])
        return
    table = new_table("model", "kind", "serves", "state")
    for each in found:
        table.add_row(each.name, each.served.kind or "-", numbers(each.serving), state(each))
    print_table(table)


@models.command("status")
def status(
    name: Name,
    port: Port = None,
    triton: TritonAddress = None,
    key: KeyText = None,
    as_json: Json = False,
) -> None:
    """Show what a model and its steps have done since they were loaded.

    Exit status: 0 it serves, 1 it does not.

    Examples:

        toolkit models status smollm2-135m-instruct

        toolkit models status smollm2-135m-instruct --json
    """
    with Endpoint(port, triton, key).control() as control:
        all_models = control.models()
        model = control.find(name)
        family = [name, *(step for step in steps_of(model.config) if step in all_models)]
        rows = [row for each in family for row in work_of(control, all_models[each])]
    if as_json:
        print_json(described(model) | {"statistics": rows})
    else:
        table = new_table("model", "version", "requests", "failed", "mean", "queued")
        for row in rows:
            table.add_row(
                row["model"],
                str(row["version"]),
                str(row["requests"]),
                str(row["failed"]),
                f"{row['mean_ms']:.1f} ms",
                f"{row['mean_queue_ms']:.1f} ms",
            )
        print_table(table)
    say(f"{name}: {state(model)}")
    raise typer.Exit(0 if model.serving else 1)


@models.command("versions")
def versions(
    name: Name,
    port: Port = None,
    triton: TritonAddress = None,
    key: KeyText = None,
    as_json: Json = False,
) -> None:
    """List a model's versions: those on disk, those loaded, and the policy that chooses.

    Examples:

        toolkit models versions smollm2-135m-instruct.engine

        toolkit models load smollm2-135m-instruct.engine --version 1 --version 2
    """
    with Endpoint(port, triton, key).control() as control:
        model = control.find(name)
        disk = on_disk(control.repository, name)
    known = {version.number: version for version in model.versions}
    rows: list[dict[str, Any]] = [
        {
            "version": number,
            "on_disk": None if disk is None else number in disk,
            "state": known[number].state if number in known else "not loaded",
            "reason": known[number].reason if number in known else "",
        }
        for number in sorted({*known, *(disk or ())})
    ]
    policy = policy_of(model)
    if as_json:
        print_json({"model": name, "policy": policy, "versions": rows})
        return
    table = new_table("version", "on disk", "state", "reason")
    for row in rows:
        there = {True: "yes", False: "no", None: "unknown"}[row["on_disk"]]
        table.add_row(str(row["version"]), there, row["state"], first_line(row["reason"]))
    print_table(table)
    say(f"policy: {policy}; requests that name no version get the highest that is loaded")


@models.command("load")
def load(
    name: Name,
    version: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Serve this version; may be repeated. Default: the policy's."),
    ] = None,
    port: Port = None,
    triton: TritonAddress = None,
    key: KeyText = None,
    timeout_s: Timeout = 600.0,
    as_json: Json = False,
) -> None:
    """Load a model, or take over what changed in its files, without a gap.

    The running version answers until the new one is up, so both need memory for a while (`reload`
    needs it once). If the load fails, the running version goes on serving.

    Examples:

        toolkit models load all-minilm-l6-v2

        toolkit models load my-model --version 2
    """
    endpoint = Endpoint(port, triton, key, timeout_s)

    def loading(control: Control, progress: Progress) -> ModelStatus:
        prepare(control, progress)
        with progress.step(f"load {name}"):
            return control.load(name, version or ())

    loaded = run(endpoint, loading)
    tell_loaded(loaded, as_json)


@models.command("unload")
def unload(
    name: Name,
    steps: Annotated[
        Steps,
        typer.Option(
            help="Steps of an ensemble that go too, of those that no other model uses: its own, as "
            "`chat.engine` is of `chat`, all, or none."
        ),
    ] = Steps.OWN,
    port: Port = None,
    triton: TritonAddress = None,
    key: KeyText = None,
    timeout_s: Timeout = 600.0,
    as_json: Json = False,
) -> None:
    """Unload a model and its own steps; running requests end first, other models go on.

    The gateway answers 503 for it from then on. `load` brings it back.

    Examples:

        toolkit models unload emoji

        toolkit models unload emoji --steps none
    """
    endpoint = Endpoint(port, triton, key, timeout_s)

    def unloading(control: Control, progress: Progress) -> list[str]:
        with progress.step(f"unload {name}"):
            return control.unload(name, steps)

    gone = run(endpoint, unloading)
    if as_json:
        print_json({"model": name, "unloaded": gone})
    else:
        say(f"unloaded: {', '.join(gone)}" if gone else f"{name} was not loaded")


@models.command("reload")
def reload(
    name: Name,
    port: Port = None,
    triton: TritonAddress = None,
    key: KeyText = None,
    timeout_s: Timeout = 600.0,
    as_json: Json = False,
) -> None:
    """Unload a model and its own steps, then load them: new processes, and memory for only one.

    The model is away meanwhile; all others go on. `load` is the way without a gap.

    Examples:

        toolkit models reload smollm2-135m-instruct
    """
    endpoint = Endpoint(port, triton, key, timeout_s)

    def reloading(control: Control, progress: Progress) -> ModelStatus:
        prepare(control, progress)
        with progress.step(f"unload {name}"):
            control.unload(name)
        with progress.step(f"load {name}"):
            return control.load(name)

    loaded = run(endpoint, reloading)
    tell_loaded(loaded, as_json)


models.command("canary")(canary)
