"""`toolkit models`: what a running Triton serves, and changing that while other models continue."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from toolkit.cli.canary import canary
from toolkit.cli.endpoint import Change, Endpoint, OneModel, link_environments_of
from toolkit.cli.options import takes
from toolkit.cli.output import print_json, print_table, say
from toolkit.cli.status import (
    described,
    first_line,
    numbers,
    on_disk,
    policy_of,
    show_loaded,
    state,
    statistics_of,
)
from toolkit.progress import Progress

if TYPE_CHECKING:
    from toolkit.serve.activity import Activity
    from toolkit.serve.control import Control, ModelStatus

models = typer.Typer(
    help="List, load, unload and test the models of a running Triton.", no_args_is_help=True
)


@dataclass(frozen=True, slots=True, kw_only=True)
class List(Endpoint):
    """The command line of `toolkit models list`."""

    steps: Annotated[bool, typer.Option("--steps", help="Also list the steps of ensembles.")] = (
        False
    )


@models.command("list")
@takes(List)
def list_(options: List) -> None:
    """List the models of the repository: which are loaded, in which versions, and which failed.

    Examples:

        toolkit models list

        toolkit models list --triton gpu-host:8001 --steps --json
    """
    with options.control() as control:
        listed = [each for each in control.models().values() if options.steps or each.public]
    if options.as_json:
        print_json([described(each) for each in listed])
        return
    rows = [
        (each.name, each.served.kind or "-", numbers(each.serving), state(each)) for each in listed
    ]
    print_table(("model", "kind", "serving", "state"), rows)


@models.command("status")
@takes(OneModel)
def status(options: OneModel) -> None:
    """Show how many requests a model and its steps have handled since they were loaded.

    `mean` is Triton's time for a request, which it does not measure for models that stream. The
    time to the first token and tokens/s are means of the last answers through the gateway.

    Exit status: 0 the model is served, 1 it is not.

    Examples:

        toolkit models status smollm2-135m-instruct

        toolkit models status smollm2-135m-instruct --json
    """
    from toolkit.serve.control import steps_of

    with options.control() as control:
        all_models = control.models()
        model = control.find(options.name)
        # a step may be missing from the repository, and the ensemble then failed to load
        family = [model.name, *(step for step in steps_of(model.config) if step in all_models)]
        rows = [row for each in family for row in statistics_of(control, all_models[each])]
        states = [(each, state(all_models[each])) for each in family[1:]]
    # after the connection was closed: the gateway may take up to 2 s to answer
    does = options.activity().get(model.name)
    if options.as_json:
        now = {"activity": asdict(does) if does else None}
        print_json(described(model) | now | {"statistics": rows})
    elif rows:
        columns = ("model", "version", "requests", "failed", "mean", "queued")
        print_table(columns, [_statistics_row(row) for row in rows])
    say(f"{model.name}: {state(model)}{_speed(does)}")
    for step, why in states:
        if why.startswith("failed"):
            say(f"{step}: {why}")
    raise typer.Exit(0 if model.serving else 1)


def _statistics_row(row: dict[str, Any]) -> tuple[str, ...]:
    counts = (str(row[name]) for name in ("model", "version", "requests", "failed"))
    mean = "-" if row["mean_ms"] is None else f"{row['mean_ms']:.1f} ms"
    return *counts, mean, f"{row['mean_queue_ms']:.1f} ms"


def _speed(does: "Activity | None") -> str:
    """The speed that the gateway has measured, as an addition to a sentence."""
    if does is None:
        return ""
    parts = [f"{does.running} requests now"]
    if does.first_token_s is not None:
        parts.append(f"first token after {does.first_token_s * 1000:.0f} ms")
    if does.tokens_per_s is not None:
        parts.append(f"{does.tokens_per_s:.1f} tokens/s per answer")
    return f"; {', '.join(parts)}"


@models.command("versions")
@takes(OneModel)
def versions(options: OneModel) -> None:
    """List a model's versions on disk and in memory, and the policy that selects them.

    Examples:

        toolkit models versions smollm2-135m-instruct.engine

        toolkit models load smollm2-135m-instruct.engine --version 1 --version 2
    """
    with options.control() as control:
        model = control.find(options.name)
        disk = on_disk(control.repository, model.name)
    known = {version.number: version for version in model.versions}
    rows: list[dict[str, Any]] = [
        {
            "version": number,
            "on_disk": None if disk is None else number in disk,
            "state": known[number].state if number in known else "not loaded",
            "reason": known[number].reason if number in known else "",
        }
        # a version may be loaded whose folder was deleted
        for number in sorted({*known, *(disk or ())})
    ]
    policy = policy_of(model)
    if options.as_json:
        print_json({"model": model.name, "policy": policy, "versions": rows})
        return
    words = {True: "yes", False: "no", None: "unknown"}
    print_table(
        ("version", "on disk", "state", "reason"),
        [
            (str(row["version"]), words[row["on_disk"]], row["state"], first_line(row["reason"]))
            for row in rows
        ],
    )
    say(f"policy: {policy}; a request without a version uses the highest loaded version")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load(Change):
    """The command line of `toolkit models load`."""

    version: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            help="Version to serve; may be repeated. Default: the versions that the policy"
            " selects.",
        ),
    ] = None


@models.command("load")
@takes(Load)
def load(options: Load) -> None:
    """Load a model, or load it again after its files changed, without a gap.

    The running version answers until the new one is ready, so both need memory for a while;
    `reload` does not. If loading fails, the running version stays.

    Examples:

        toolkit models load all-minilm-l6-v2

        toolkit models load my-model --version 2
    """

    def work(control: "Control", progress: Progress) -> "ModelStatus":
        # a repository that was built again may name environments that are not there yet
        link_environments_of(control, progress)
        with progress.step(f"load {options.name}"):
            return control.load(options.name, options.version or ())

    show_loaded(options.run(work), options.as_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unload(Change):
    """The command line of `toolkit models unload`."""

    steps: Annotated[
        Literal["own", "all", "none"],
        typer.Option(
            help="Which steps to unload with an ensemble, if no other model uses them: `own`: "
            "those named after it, such as `chat.engine` for `chat`."
        ),
    ] = "own"


@models.command("unload")
@takes(Unload)
def unload(options: Unload) -> None:
    """Unload a model and its own steps. Running requests finish first; other models continue.

    From then on the gateway answers 503 for the model, and `toolkit models load` loads it again. A
    model with `keep_alive` in models.yaml is loaded again by its next request.

    Examples:

        toolkit models unload emoji

        toolkit models unload emoji --steps none
    """
    from toolkit.serve.control import Steps

    def work(control: "Control", progress: Progress) -> list[str]:
        with progress.step(f"unload {options.name}"):
            return control.unload(options.name, Steps(options.steps))

    gone = options.run(work)
    if options.as_json:
        print_json({"model": options.name, "unloaded": gone})
    else:
        say(f"unloaded: {', '.join(gone)}" if gone else f"{options.name} was not loaded")


@models.command("reload")
@takes(Change)
def reload(options: Change) -> None:
    """Unload a model and its own steps, then load them again in new processes.

    Needs memory for one version only, but the model is not available meanwhile. Other models
    continue. `toolkit models load` has no such gap.

    Examples:

        toolkit models reload smollm2-135m-instruct
    """

    def work(control: "Control", progress: Progress) -> "ModelStatus":
        link_environments_of(control, progress)
        with progress.step(f"unload {options.name}"):
            # returns when the model is gone, so that both are never in memory
            control.unload(options.name)
        with progress.step(f"load {options.name}"):
            # the ensemble's load brings its steps, which were unloaded with it
            return control.load(options.name)

    show_loaded(options.run(work), options.as_json)


models.command("canary")(canary)
