"""Triton's vLLM backend: the settings that it makes itself, and the engine's `model.json`.

It makes its models decoupled and unbatched and refuses a config that contradicts this
(`src/model.py` of triton-inference-server/vllm_backend).
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from toolkit.verifier.finding import Effect, ModelFinding
from toolkit.verifier.model import Model
from toolkit.verifier.rule import rule

_FILE = "model.json"


@rule("vllm-batch", "Batch size of a vLLM model", Effect.REFUSED)
def vllm_batch(model: Model) -> Iterator[ModelFinding]:
    """vLLM does its own batching: the backend sets `max_batch_size` 0 and refuses other values."""
    if model.served.backend == "vllm" and (size := model.config.max_batch_size) > 0:
        yield model.finding(
            "max_batch_size",
            f"max_batch_size is {size}, but vLLM does its own batching",
            "write max_batch_size: 0",
        )


@rule("vllm-decoupled", "vLLM model that is not decoupled", Effect.REFUSED)
def vllm_decoupled(model: Model) -> Iterator[ModelFinding]:
    """The backend returns any number of responses to a request, so its models are decoupled.

    `model_transaction_policy` must be omitted or set `decoupled: true`. If it is empty, it means
    that the model is not decoupled.
    """
    policy = model.config.model_transaction_policy
    declared = model.config.HasField("model_transaction_policy")
    if model.served.backend == "vllm" and declared and not policy.decoupled:
        yield model.finding(
            "model_transaction_policy",
            "vLLM models are decoupled, but model_transaction_policy is not",
            "write model_transaction_policy { decoupled: true }, or remove it",
        )


@rule("vllm-engine", "Invalid model.json", Effect.REFUSED)
def vllm_engine(model: Model) -> Iterator[ModelFinding]:
    """`model.json` must contain the engine's arguments as one JSON object, in ASCII.

    The server's Python may read it as ASCII, so write other characters as `\\u…`. A byte order mark
    is not valid.
    """
    if model.served.backend != "vllm":
        return
    for folder in model.served_versions.values():
        path = folder / _FILE
        if path.is_file():
            yield from _unreadable(model, path)


def _unreadable(model: Model, path: Path) -> Iterator[ModelFinding]:
    content = path.read_bytes()
    try:
        value = json.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        yield model.file_finding(path, f"{_FILE} is not UTF-8 text", "save it as UTF-8", line)
    except json.JSONDecodeError as error:
        text = f"{_FILE} is not valid JSON: {error.msg}"
        yield model.file_finding(path, text, "correct the line", min(error.lineno, _lines(content)))
    except RecursionError:
        yield model.file_finding(path, f"{_FILE} is nested too deeply", "write one flat object")
    else:
        if not isinstance(value, dict):
            text = f"{_FILE} must be a JSON object, got {type(value).__name__}"
            yield model.file_finding(path, text, 'write { "model": "…" }')
        # the stub's default encoding is ASCII, whatever LANG says
        elif not content.isascii():
            text = f"{_FILE} contains non-ASCII characters"
            finding = model.file_finding(path, text, "write them as \\u…")
            yield replace(finding, effect=Effect.RISK)


def _lines(content: bytes) -> int:
    return max(1, content.count(b"\n") + (not content.endswith(b"\n")))


RULES = (vllm_batch, vllm_decoupled, vllm_engine)
