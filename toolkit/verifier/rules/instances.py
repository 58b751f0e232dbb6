"""Instance groups: devices, counts, and settings that only some backends accept."""

from collections.abc import Iterator
from typing import TypeAlias

from toolkit.model_config import ModelInstanceGroup
from toolkit.verifier.finding import Effect, ModelFinding
from toolkit.verifier.model import Model
from toolkit.verifier.rule import rule

Group: TypeAlias = ModelInstanceGroup


def groups(model: Model) -> Iterator[tuple[str, Group]]:
    """All instance groups with their path; an ensemble has no instance groups."""
    if not model.is_ensemble:
        for index, group in enumerate(model.config.instance_group):
            yield f"instance_group[{index}]", group


@rule("gpu", "GPU not available", Effect.REFUSED)
def gpu(model: Model) -> Iterator[ModelFinding]:
    """KIND_GPU needs a GPU, and `gpus` may list only existing GPUs. Other kinds must not set it.

    The embedded server runs on the CPU. For containers, pass the number of GPUs of the host with
    `--gpus`; without it only contradictions within the config are reported.
    """
    available = model.target.gpus
    for path, group in groups(model):
        kind = Group.Kind.Name(group.kind)
        if group.kind == Group.KIND_GPU and available == 0:
            yield model.finding(
                f"{path}.kind",
                f"the kind is KIND_GPU, but the target {model.target.name} has no GPU",
                "write kind: KIND_CPU",
            )
        elif group.kind in (Group.KIND_CPU, Group.KIND_MODEL) and group.gpus:
            yield model.finding(
                f"{path}.gpus",
                f"a group of {kind} cannot set gpus",
                "remove gpus, or write kind: KIND_GPU",
            )
        elif group.kind == Group.KIND_GPU:
            for index, number in enumerate(group.gpus):
                if number < 0 or (available is not None and number >= available):
                    text = f"GPU {number} does not exist"
                    text += f"; the host has {available}" if available else ""
                    yield model.finding(f"{path}.gpus[{index}]", text, "list existing GPUs")


@rule("gpu-auto", "GPU list of a group that falls back to the CPU", Effect.REFUSED)
def gpu_auto(model: Model) -> Iterator[ModelFinding]:
    """A group without `kind` becomes KIND_CPU if one of its `gpus` does not exist.

    A KIND_CPU group must not set `gpus`, so the server refuses it.
    """
    available = model.target.gpus
    for path, group in groups(model):
        missing = [g for g in group.gpus if g < 0 or (available is not None and g >= available)]
        if group.kind == Group.KIND_AUTO and missing:
            yield model.finding(
                f"{path}.gpus",
                f"GPU {missing[0]} does not exist and kind is not set: the group becomes KIND_CPU",
                "remove gpus, or list existing GPUs and write kind: KIND_GPU",
            )


@rule("profile", "Optimization profile without TensorRT", Effect.REFUSED)
def profile(model: Model) -> Iterator[ModelFinding]:
    """`profile` lists TensorRT optimization profiles by number; other backends do not accept it."""
    # `tensorrt_plan` without a backend is TensorRT as well
    tensorrt = "tensorrt" in (model.served.backend, model.served.platform.partition("_")[0])
    for path, group in groups(model):
        for index, text in enumerate(group.profile):
            if not tensorrt:
                reason = f"profile needs TensorRT, but the backend is '{model.served.backend}'"
                yield model.finding(f"{path}.profile[{index}]", reason, "remove the line")
            elif not text.isdigit():
                reason = f"'{text}' is not the number of a profile"
                yield model.finding(
                    f"{path}.profile[{index}]", reason, 'write a number such as "0"'
                )


@rule("instance-count", "Negative number of instances", Effect.IGNORED)
def instance_count(model: Model) -> Iterator[ModelFinding]:
    """With a `count` below 1 the server uses the default: 1, or 2 for ONNX Runtime on the CPU."""
    for path, group in groups(model):
        if group.count < 0:
            text = f"count is {group.count}; the server uses its default"
            yield model.finding(f"{path}.count", text, "write count: 1")


@rule("repository-agent", "Unknown repository agent", Effect.REFUSED)
def repository_agent(model: Model) -> Iterator[ModelFinding]:
    """`model_repository_agents` names libraries in the server's `repoagents` folder.

    Containers include `checksum`; the embedded server has no agents.
    """
    known = set() if model.target.embedded else {"checksum"}
    for index, agent in enumerate(model.config.model_repository_agents.agents):
        # a container may have agents added; nothing can be said about those
        if agent.name not in known and (model.target.embedded or not agent.name):
            yield model.finding(
                f"model_repository_agents.agents[{index}].name",
                f"the target {model.target.name} has no repository agent '{agent.name}'",
                "remove it",
            )


RULES = (gpu, gpu_auto, profile, instance_count, repository_agent)
