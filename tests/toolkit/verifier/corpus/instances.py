"""Instance groups and version policies."""

from tests.toolkit.verifier.corpus.dsl import Case, Files, Verdict, case, python

_REFUSED = Verdict.REFUSED


def _group(text: str) -> Files:
    return python(more=f"instance_group {{ {text} }}\n")


def _policy(text: str) -> Files:
    return python(more=f"version_policy {{ {text} }}\n")


CASES: list[Case] = [
    case("group_cpu", _group("kind: KIND_CPU count: 1"), request="x:FP32:3"),
    case("group_gpu", _group("kind: KIND_GPU"), _REFUSED, "gpu"),
    case("group_gpu_listed", _group("kind: KIND_GPU gpus: [ 0 ]"), _REFUSED, "gpu"),
    case("group_auto_gpu", _group("gpus: [ 0 ]"), _REFUSED, "gpu-auto"),
    case("group_cpu_gpus", _group("kind: KIND_CPU gpus: [ 0 ]"), _REFUSED, "gpu"),
    case("group_model", _group("kind: KIND_MODEL")),
    case("group_model_gpus", _group("kind: KIND_MODEL gpus: [ 0 ]"), _REFUSED, "gpu"),
    case("group_count_zero", _group("kind: KIND_CPU count: 0")),
    case(
        "group_count_negative", _group("kind: KIND_CPU count: -1"), Verdict.LOADS, "instance-count"
    ),
    case("group_profile", _group('kind: KIND_CPU profile: "0"'), _REFUSED, "profile"),
    case(
        "group_same_names",
        python(
            more='instance_group [ { name: "a" kind: KIND_CPU }, { name: "a" kind: KIND_CPU } ]\n'
        ),
    ),
    case(
        "group_secondary",
        _group("kind: KIND_CPU secondary_devices { kind: KIND_NVDLA device_id: 0 }"),
    ),
    case("group_host_policy", _group('kind: KIND_CPU host_policy: "none"')),
    case("group_rate", _group('kind: KIND_CPU rate_limiter { resources { name: "r" count: 1 } }')),
    case("group_kind_lower", _group("kind: KIND_cpu"), _REFUSED, "syntax"),
    case("policy_specific", _policy("specific { versions: [ 1 ] }")),
    case(
        "policy_specific_missing",
        _policy("specific { versions: [ 2 ] }"),
        _REFUSED,
        "version-policy",
    ),
    case(
        "policy_specific_some",
        _policy("specific { versions: [ 1, 2 ] }"),
        Verdict.LOADS,
        "version-missing",
    ),
    case("policy_specific_none", _policy("specific { }"), _REFUSED, "version-policy"),
    case("policy_latest_zero", _policy("latest { num_versions: 0 }"), _REFUSED, "version-policy"),
    case("policy_all", _policy("all { }")),
    case("policy_latest", _policy("latest { num_versions: 2 }")),
    case("policy_empty", _policy("")),
    case(
        "agent_unknown",
        python(more='model_repository_agents { agents { name: "none" } }\n'),
        _REFUSED,
        "repository-agent",
    ),
    case("library_missing", python(more='model_operations { op_library_filename: "none.so" }\n')),
    case("graph_level", python(more="optimization { graph { level: 1 } }\n")),
    case(
        "accelerator",
        python(
            more=(
                "optimization { execution_accelerators { gpu_execution_accelerator { name: "
                '"tensorrt" } } }\n'
            )
        ),
    ),
]
