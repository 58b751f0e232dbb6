"""The ensemble of a language model with its parameters for clients, and the step `prompt`."""

import json
from collections.abc import Mapping
from dataclasses import replace

from toolkit import contract
from toolkit.kinds.llm.facts import LlmFacts
from toolkit.kinds.llm.fields import LlmEntry
from toolkit.kinds.llm.tensors import ADAPTER, EVENT, IMAGES, PROMPT, REPLY, SAMPLING, TEXT, TOKENS
from toolkit.kinds.parts import Ensemble, Model, Route, Running, Step, with_text

PROMPT_INSTANCES = 2
_PROMPT_TEXT = '{"text": "warm-up"}'


def capabilities(entry: LlmEntry, facts: LlmFacts) -> list[str]:
    """The model's capabilities; its parsers may add further ones when it is loaded."""
    chats = facts.chat or entry.chat_template is not None
    if entry.engine == "tensorrt-llm":
        return ["chat", "completion"] if chats else ["completion"]
    able = ["chat", "completion", "tools"] if chats else ["completion"]
    able += ["reasoning"] if entry.reasoning_parser else []
    able += ["vision"] if facts.vision else []
    return able + (["infill"] if entry.fim else [])


def served_models(
    served: str,
    entry: LlmEntry,
    facts: LlmFacts,
    engine: Step,
    public: Mapping[str, object],
) -> list[Model]:
    """The ensemble with the public name `served`, and its step `prompt`."""
    adapter = entry.adapters.get(served)
    text_bytes = facts.text_bytes(entry.context_length)
    prompt = _prompt(served, entry, text_bytes, served if adapter else None)
    about: dict[str, object] = {
        contract.CONTEXT_LENGTH: entry.context_length,
        contract.MAX_TEXT_BYTES: text_bytes,
        contract.CANCEL: engine.name,
        contract.DETAILS: facts.details.model_dump(),
    }
    if adapter:
        known = facts.adapters.get(served)  # not known while nothing has been fetched
        about |= {
            contract.ALIASES: list(adapter.aliases),
            contract.SOURCE: str(adapter.origin),
            contract.DIGEST: known.digest if known else "",
        }
    beside = (SAMPLING, REPLY, IMAGES) if facts.vision else (SAMPLING, REPLY)
    made = [
        tensor.name for tensor in prompt.outputs if tensor is not TEXT
    ]  # which is for /tokenize
    routes = (
        Route.same(prompt, ("prompt",), made),
        Route.same(engine, (*made, *(tensor.name for tensor in beside)), ("event",)),
    )
    ensemble = Ensemble(
        served, (PROMPT, *beside), (EVENT,), routes, {**public, **about}, decoupled=True
    )
    return [ensemble, prompt]


def _prompt(name: str, entry: LlmEntry, text_bytes: int | None, adapter: str | None) -> Step:
    own: dict[str, object] = {"context_length": entry.context_length}
    own["max_text_bytes"] = text_bytes
    if adapter:
        own["adapter"] = adapter
    if entry.fim is not None:
        # null for `false`: the step then does not look for marks in the tokenizer
        own[contract.FIM] = json.dumps(entry.fim or None, ensure_ascii=False)
    return Step(
        name=f"{name}.prompt",
        environment="onnx",
        inputs=(PROMPT,),
        outputs=(TOKENS, TEXT, ADAPTER) if adapter else (TOKENS, TEXT),
        parameters=own,
        instances=PROMPT_INSTANCES,
        running=_prompt_running(entry),
    )


def _prompt_running(entry: LlmEntry) -> Running:
    running = Running.part(entry.parts.get("prompt"))
    return replace(running, warmup=with_text(running.warmup, prompt=_PROMPT_TEXT))
