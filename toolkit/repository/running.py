"""Writes how a model runs into Triton's config: instances, queue, versions.

It does not depend on kinds of models or tensors.
"""

from toolkit.fields.serving import Instances
from toolkit.kinds.parts import Running
from toolkit.model_config import (
    ModelConfig,
    ModelInstanceGroup,
    ModelQueuePolicy,
    ModelRateLimiter,
)
from toolkit.targets import Target

_KINDS = {
    "cpu": ModelInstanceGroup.KIND_CPU,
    "gpu": ModelInstanceGroup.KIND_GPU,
    "model": ModelInstanceGroup.KIND_MODEL,
}


def add_instances(
    config: ModelConfig, running: Running, device: str, count: int, target: Target
) -> None:
    """Writes instance groups. `device` and `count` are the step's own defaults."""
    natural = device if target.gpu else "cpu"
    for group in running.instances or (Instances(count=count),):
        kind = natural if group.device == "auto" else group.device
        # `gpus` alone says where, and Triton refuses them in a CPU group
        if kind == "cpu" and group.gpus:
            kind = "gpu"
        written = ModelInstanceGroup(kind=_KINDS[kind], count=group.count)
        if kind == "gpu":
            written.gpus.extend(group.gpus)
        if group.rate_limit:
            limiter = ModelRateLimiter(priority=group.rate_limit.priority)
            for resource in group.rate_limit.resources:
                limiter.resources.add(
                    # `global` is a keyword of Python, so it cannot be written as an argument
                    **{"name": resource.name, "count": resource.count, "global": resource.shared}
                )
            written.rate_limiter.CopyFrom(limiter)
        config.instance_group.append(written)


def add_queue(config: ModelConfig, running: Running) -> None:
    """Writes the dynamic batcher, its queue and its priorities, and the response cache."""
    queue = config.dynamic_batching
    # an empty message still switches the batcher on
    queue.SetInParent()
    if batching := running.batching:
        queue.preferred_batch_size.extend(batching.preferred)
        queue.max_queue_delay_microseconds = batching.max_delay_us
        queue.preserve_ordering = batching.preserve_order
        if batching.max_queue or batching.timeout_us:
            queue.default_queue_policy.CopyFrom(
                ModelQueuePolicy(
                    timeout_action=ModelQueuePolicy.REJECT,
                    default_timeout_microseconds=batching.timeout_us,
                    allow_timeout_override=True,
                    max_queue_size=batching.max_queue,
                )
            )
    if priority := running.priority:
        queue.priority_levels = priority.levels
        # Triton refuses levels without a default
        queue.default_priority_level = priority.default or (priority.levels + 1) // 2


def add_versions(config: ModelConfig, running: Running) -> None:
    """Writes the version policy, if models.yaml has one."""
    policy = running.version_policy
    if policy is None:
        return
    if policy.latest is not None:
        config.version_policy.latest.num_versions = policy.latest
    elif policy.specific is not None:
        config.version_policy.specific.versions.extend(policy.specific)
    else:
        # a message without fields is written only if it is set as a whole
        config.version_policy.all.SetInParent()
