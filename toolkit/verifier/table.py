"""All rules in the order of the reference page, and that page."""

from toolkit.verifier.finding import Effect
from toolkit.verifier.rule import Rule
from toolkit.verifier.rules import (
    batching,
    code,
    contract,
    ensembles,
    environment,
    flow,
    habits,
    identity,
    instances,
    joins,
    maps,
    onnx,
    python,
    rate,
    sequence,
    syntax,
    tensors,
    versions,
    vllm,
    warmup,
)

_SUBJECTS = {
    "Text and fields": (*syntax.RULES, *maps.RULES),
    "Name and backend": identity.RULES,
    "Versions and files": versions.RULES,
    "Inputs and outputs": tensors.RULES,
    "Batches, queues, cache": batching.RULES,
    "Sequences": sequence.RULES,
    "Warm-up": warmup.RULES,
    "Instances": instances.RULES,
    "Rate limiter": rate.RULES,
    "Python backend": python.RULES,
    "Python environments": environment.RULES,
    "ONNX Runtime": onnx.RULES,
    "vLLM backend": vllm.RULES,
    "Ensembles: config and graph": ensembles.RULES,
    "Ensembles: tensors between steps": joins.RULES,
    "Ensembles: decoupled steps": flow.RULES,
    "Likely mistakes": habits.RULES,
    "Models that the toolkit builds": (*contract.RULES, *code.RULES),
}
RULES: dict[str, Rule] = {rule.id: rule for rules in _SUBJECTS.values() for rule in rules}
_EFFECTS = {
    Effect.REFUSED: "Triton refuses to load the model",
    Effect.FAILS: "the model loads, requests fail",
    Effect.SILENT: "the model loads and returns wrong data without an error",
    Effect.RISK: "the model loads and works only under some conditions",
    Effect.IGNORED: "the model loads, Triton ignores this setting",
}


def rules_page() -> str:
    """The reference page of all rules, in Markdown."""
    lines = [
        "# Rules of `toolkit verify`",
        "",
        f"`toolkit verify` applies {len(RULES)} rules. A message starts with `error[RULE]` or "
        "`warning[RULE]`; look the rule up here.",
        "",
    ]
    for subject, rules in _SUBJECTS.items():
        lines += [f"## {subject}", ""]
        for rule in rules:
            lines += [f"### `{rule.id}`: {rule.title}", ""]
            lines += [f"*{rule.severity}: {_EFFECTS[rule.effect]}*", "", rule.explanation, ""]
    return "\n".join(lines).rstrip() + "\n"
