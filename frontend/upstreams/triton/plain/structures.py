"""What an answer must match, as NVIDIA's backends take it. Pure.

vLLM's backend reads it as JSON inside the JSON of `sampling_parameters`: as `guided_decoding` from
release 25.01 on, as `structured_outputs` from 25.11 on (vllm_backend, src/utils/
vllm_backend_utils.py). TensorRT-LLM has two tensors for it, where the model declares them.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from frontend.domain.structure import Structure
from frontend.upstreams.remote import unsupported
from frontend.upstreams.triton.plain.configs import Plain

_GUIDED = {"json", "json_object", "regex", "choice", "grammar"}
_KINDS = {"guided_decoding": _GUIDED, "structured_outputs": _GUIDED | {"structural_tag"}}
_OLD_OPTIONS = {"whitespace_pattern"}
"""All that vLLM knew when the parameter was `guided_decoding`."""
_GUIDES = {
    "json": "json_schema",
    "json_object": "json",
    "regex": "regex",
    "grammar": "ebnf_grammar",
}


def guide_vllm(plain: Plain, structure: Structure | None) -> Iterator[tuple[str, str]]:
    """The sampling parameter of a structure. Raises InvalidRequest for what the release lacks."""
    if structure is None or structure.kind is None:
        return
    name = _parameter(plain)
    if name is None or structure.kind not in _KINDS[name]:
        unsupported(structure.path, plain.family.value)
    for option in structure.options:
        if name == "guided_decoding" and option not in _OLD_OPTIONS:
            unsupported(f"structured_outputs.{option}", plain.family.value)
    yield name, orjson.dumps({structure.kind: structure.value, **structure.options}).decode()


def _parameter(plain: Plain) -> str | None:
    """By the inputs that came with the same releases; none before 24.12."""
    if "embedding_request" in plain.inputs:
        return "structured_outputs"
    return "guided_decoding" if "return_finish_reason" in plain.inputs else None


def guide_tensorrt(plain: Plain, structure: Structure | None) -> Iterator[tuple[str, Any]]:
    """The tensors of a structure. Raises InvalidRequest where the model lacks them."""
    if structure is None or structure.kind is None:
        return
    guide = _GUIDES.get(structure.kind)
    if guide is None or "guided_decoding_guide" not in plain.inputs:
        unsupported(structure.path, plain.family.value)
    for option in structure.options:
        unsupported(f"structured_outputs.{option}", plain.family.value)
    yield "guided_decoding_guide_type", guide
    value = structure.value
    if guide != "json":
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        yield "guided_decoding_guide", text
