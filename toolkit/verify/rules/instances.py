"""Instance groups: devices, counts, and what only some backends take."""

from collections.abc import Iterator
from typing import TypeAlias

from toolkit.model_config import ModelInstanceGroup
from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect
from toolkit.verify.rule import rule

Group: TypeAlias = ModelInstanceGroup


def groups(model: Model) -> Iterator[tuple[str, Group]]:
    """All instance groups with their path; none for an ensemble, which may not have any."""
    if not model.is_ensemble:
        for index, group in enumerate(model.config.instance_group):
            yield f"instance_group[{index}]", group


@rule("gpu", "GPU that is not there", Effect.REFUSED)
def gpu(model: Model) -> Iterator[Hit]:
    """KIND_GPU needs a GPU, and `gpus` lists only those that are there; other kinds list none.

    The embedded server runs on the CPU. For a container, say how many GPUs its host has with
    `--gpus`; without that only contradictions inside of the config are reported.
    """
    there = model.target.gpus
    for path, group in groups(model):
        kind = Group.Kind.Name(group.kind)
        if group.kind == Group.KIND_GPU and there == 0:
            yield model.hit(
                f"{path}.kind",
                f"KIND_GPU, and the target {model.target.name} has no GPU",
                "write kind: KIND_CPU",
            )
        elif group.kind in (Group.KIND_CPU, Group.KIND_MODEL) and group.gpus:
            yield model.hit(
                f"{path}.gpus",
                f"{kind} with a list of gpus",
                "remove gpus, or write kind: KIND_GPU",
            )
        elif group.kind == Group.KIND_GPU:
            for index, number in enumerate(group.gpus):
                if number < 0 or (there is not None and number >= there):
                    text = f"there is no GPU {number}" + (f" among {there}" if there else "")
                    yield model.hit(f"{path}.gpus[{index}]", text, "list GPUs that are there")


@rule("gpu-auto", "GPU list that falls back to the CPU", Effect.REFUSED)
def gpu_auto(model: Model) -> Iterator[Hit]:
    """Without `kind` a group with `gpus` becomes KIND_CPU where one of them is missing.

    And a KIND_CPU group may list none, so the server refuses it.
    """
    there = model.target.gpus
    for path, group in groups(model):
        missing = [g for g in group.gpus if g < 0 or (there is not None and g >= there)]
        if group.kind == Group.KIND_AUTO and missing:
            yield model.hit(
                f"{path}.gpus",
                f"without kind and GPU {missing[0]} the group becomes KIND_CPU",
                "remove gpus, or list GPUs that are there and write kind: KIND_GPU",
            )


@rule("profile", "Optimization profile without TensorRT", Effect.REFUSED)
def profile(model: Model) -> Iterator[Hit]:
    """`profile` names TensorRT optimization profiles by number; other backends have none."""
    tensorrt = "tensorrt" in (model.served.backend, model.served.platform.partition("_")[0])
    for path, group in groups(model):
        for index, text in enumerate(group.profile):
            if not tensorrt:
                reason = f"profile is for TensorRT, this model runs on '{model.served.backend}'"
                yield model.hit(f"{path}.profile[{index}]", reason, "remove the line")
            elif not text.isdigit():
                reason = f"'{text}' is not a profile's number"
                yield model.hit(f"{path}.profile[{index}]", reason, 'write a number, as "0"')


@rule("instance-count", "Negative number of instances", Effect.IGNORED)
def instance_count(model: Model) -> Iterator[Hit]:
    """A `count` below 1 is taken as the default: 1, for ONNX Runtime on the CPU 2."""
    for path, group in groups(model):
        if group.count < 0:
            text = f"count is {group.count}; the server takes its default"
            yield model.hit(f"{path}.count", text, "write count: 1")


@rule("repository-agent", "Repository agent that is not there", Effect.REFUSED)
def repository_agent(model: Model) -> Iterator[Hit]:
    """`model_repository_agents` are libraries in the server's `repoagents` folder.

    The containers bring `checksum`, the embedded server none.
    """
    known = set() if model.target.embedded else {"checksum"}
    for index, agent in enumerate(model.config.model_repository_agents.agents):
        if agent.name not in known and (model.target.embedded or not agent.name):
            yield model.hit(
                f"model_repository_agents.agents[{index}].name",
                f"the target {model.target.name} has no repository agent '{agent.name}'",
                "remove it",
            )


RULES = (gpu, gpu_auto, profile, instance_count, repository_agent)
