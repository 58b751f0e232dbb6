"""Triton's own vLLM backend: what it sets in the config by itself, and the engine's `model.json`.

It makes its models decoupled and unbatched, and refuses a config that says otherwise
(`src/model.py` of triton-inference-server/vllm_backend).
"""

import json
from collections.abc import Iterator
from pathlib import Path

from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect
from toolkit.verify.rule import rule

_FILE = "model.json"


@rule("vllm-batch", "Batch size of a vLLM model", Effect.REFUSED)
def vllm_batch(model: Model) -> Iterator[Hit]:
    """vLLM batches by itself: the backend sets `max_batch_size` 0 and refuses a larger one."""
    if model.served.backend == "vllm" and (size := model.config.max_batch_size) > 0:
        yield model.hit(
            "max_batch_size",
            f"max_batch_size is {size}, and the backend vllm batches by itself",
            "write max_batch_size: 0",
        )


@rule("vllm-decoupled", "vLLM model that is not decoupled", Effect.REFUSED)
def vllm_decoupled(model: Model) -> Iterator[Hit]:
    """The backend answers each request any number of times.

    It makes its models decoupled; `model_transaction_policy` may say so, be absent, and nothing
    else. An empty one says that the model is not.
    """
    policy = model.config.model_transaction_policy
    said = model.config.HasField("model_transaction_policy")
    if model.served.backend == "vllm" and said and not policy.decoupled:
        yield model.hit(
            "model_transaction_policy",
            "the backend vllm is decoupled, and this says that the model is not",
            "write model_transaction_policy { decoupled: true }, or remove it",
        )


@rule("vllm-engine", "model.json that cannot be read", Effect.REFUSED)
def vllm_engine(model: Model) -> Iterator[Hit]:
    """`model.json` holds the engine's arguments as one JSON object, in plain ASCII.

    The server's Python may read it as ASCII, so write other letters as `\\u…`. A byte order mark is
    refused by every reader.
    """
    if model.served.backend != "vllm":
        return
    for folder in model.served_versions.values():
        path = folder / _FILE
        if path.is_file():
            yield from _unreadable(model, path)


def _unreadable(model: Model, path: Path) -> Iterator[Hit]:
    content = path.read_bytes()
    try:
        value = json.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        yield model.hit_file(path, f"{_FILE} is not UTF-8 text", "save it as UTF-8", line)
    except json.JSONDecodeError as error:
        text = f"{_FILE} is not valid JSON: {error.msg}"
        yield model.hit_file(path, text, "correct the line", min(error.lineno, _lines(content)))
    except RecursionError:
        yield model.hit_file(path, f"{_FILE} is nested too deeply", "write one flat object")
    else:
        if not isinstance(value, dict):
            text = f"{_FILE} is not a JSON object but {type(value).__name__}"
            yield model.hit_file(path, text, 'write { "model": "…" }')
        elif not content.isascii():
            text = f"{_FILE} holds letters beyond ASCII"
            hit = model.hit_file(path, text, "write them as \\u…")
            yield Hit(hit.place, hit.field, hit.message, hit.fix, effect=Effect.RISK)


def _lines(content: bytes) -> int:
    return max(1, content.count(b"\n") + (not content.endswith(b"\n")))


RULES = (vllm_batch, vllm_decoupled, vllm_engine)
