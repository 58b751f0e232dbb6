"""One generation as the tensors of NVIDIA's backends. Pure.

Every field is sent or refused by its name, except where its value changes nothing.
"""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from tritonclient.grpc import service_pb2

from frontend.domain.generation import Conversation, Generation, Passage, TokenIds
from frontend.upstreams.remote import unsupported
from frontend.upstreams.triton.plain.configs import Family, Plain
from frontend.upstreams.triton.plain.structures import guide_tensorrt, guide_vllm
from frontend.upstreams.triton.tensors import add_numbers, add_texts

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "min_p": (0,),
    "top_k": (0, -1),
    "repetition_penalty": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "min_tokens": (0,),
    "logit_bias": ({},),
    "stop": ([], ()),
    "stop_token_ids": ([],),
    "ignore_eos": (False,),
    "skip_special_tokens": (True,),
    "include_stop_str_in_output": (False,),
    "priority": (0,),
}
"""Values that change nothing: such a field need not be sent."""
_VLLM = (
    *("temperature", "top_p", "top_k", "min_p", "seed", "stop", "min_tokens"),
    *("presence_penalty", "frequency_penalty", "repetition_penalty"),
)
_VLLM_EXTRAS = frozenset(
    {"ignore_eos", "skip_special_tokens", "include_stop_str_in_output", "stop_token_ids"}
)
_ENSEMBLE = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "seed": "seed",
    "min_tokens": "min_tokens",
    "repetition_penalty": "repetition_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "length_penalty": "length_penalty",
}
_LLMAPI = {
    name: f"sampling_param_{name}"
    for name in ("temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty")
}
_RETURNS = ("finish_reason", "stop_reason", "num_input_tokens", "num_output_tokens")


def check(plain: Plain, generation: Generation) -> None:
    """Raises InvalidRequest for what models of other builders do not take from the gateway."""
    prompt, engine = generation.prompt, plain.family.value
    if isinstance(prompt, TokenIds):
        unsupported(generation.param, f"{engine}, which takes texts and no token ids")
    if isinstance(prompt, Passage):
        if prompt.suffix is not None:
            unsupported("suffix", engine)
        if prompt.special_tokens is False:
            unsupported("add_special_tokens", engine)
    if isinstance(prompt, Conversation):
        if prompt.continued:
            unsupported("continue_final_message", engine)
        if prompt.prefix:
            unsupported("context", engine)
    if generation.reply is not None and generation.reply.prompt_token_ids:
        unsupported("return_token_ids", engine)


def write_request(
    model: str, plain: Plain, generation: Generation, text: str, most: int
) -> service_pb2.ModelInferRequest:
    """The request for `text`, the whole prompt, and at most `most` tokens of answer. Raises
    InvalidRequest for an option that the model does not have."""
    check(plain, generation)
    request = service_pb2.ModelInferRequest(model_name=model, model_version=plain.version)
    write: Callable[[Plain, Generation, int], Iterator[tuple[str, Any]]] = {
        Family.VLLM: _vllm, Family.ENSEMBLE: _ensemble, Family.LLMAPI: _llmapi,
    }[plain.family]  # fmt: skip
    _add(request, plain, "text_input", text)
    for name, value in write(plain, generation, most):
        _add(request, plain, name, value)
    for name in _RETURNS:
        if f"return_{name}" in plain.inputs and name in plain.outputs:
            _add(request, plain, f"return_{name}", True)
    return request


def _vllm(plain: Plain, generation: Generation, most: int) -> Iterator[tuple[str, Any]]:
    given = _fields(generation, plain)
    parameters: dict[str, Any] = {"max_tokens": most}
    for name, value in given.items():
        if name not in _VLLM and name not in _VLLM_EXTRAS:
            unsupported(name, plain.family.value)
        parameters[name] = value
    parameters |= guide_vllm(plain, generation.structure)
    yield "stream", True
    if "exclude_input_in_output" in plain.inputs:
        yield "exclude_input_in_output", True
    if (logprobs := generation.sampling.logprobs) is not None:
        if "return_logprobs" not in plain.inputs:
            unsupported("logprobs", plain.family.value)
        parameters["logprobs"] = logprobs
        yield "return_logprobs", True
    yield "sampling_parameters", orjson.dumps(parameters).decode()
    if generation.images:
        if "image" not in plain.inputs:
            unsupported("image_url", plain.family.value)
        yield "image", [base64.b64encode(file).decode() for file in generation.images]


def _ensemble(plain: Plain, generation: Generation, most: int) -> Iterator[tuple[str, Any]]:
    yield from _trtllm(plain, generation, _ENSEMBLE)
    yield "max_tokens", most
    yield "stop_words", list(generation.sampling.stop or ()) or [""]
    if "bad_words" in plain.inputs:
        yield "bad_words", [""]
    if "exclude_input_in_output" in plain.inputs:
        yield "exclude_input_in_output", True
    if "stream" in plain.inputs:
        yield "stream", plain.streams
    yield from guide_tensorrt(plain, generation.structure)


def _llmapi(plain: Plain, generation: Generation, most: int) -> Iterator[tuple[str, Any]]:
    yield from _trtllm(plain, generation, _LLMAPI)
    yield "sampling_param_max_tokens", most
    if stops := list(generation.sampling.stop or ()):
        yield "sampling_param_stop", stops
    if "sampling_param_exclude_input_from_output" in plain.inputs:
        yield "sampling_param_exclude_input_from_output", True
    if "streaming" in plain.inputs:
        yield "streaming", plain.streams
    yield from guide_tensorrt(plain, generation.structure)


def _trtllm(
    plain: Plain, generation: Generation, names: dict[str, str]
) -> Iterator[tuple[str, Any]]:
    """What both kinds of TensorRT-LLM model take. Without `top_k` and `top_p` they are greedy,
    where the APIs' default is temperature 1."""
    given, engine = _fields(generation, plain), plain.family.value
    if generation.images:
        unsupported("image_url", engine)
    if generation.sampling.logprobs is not None:
        unsupported("logprobs", engine)
    given.pop("stop", None)
    if given.get("temperature", 1) == 0:
        given = {**given, "temperature": 1.0, "top_k": 1}
        given.pop("top_p", None)
    elif "top_k" not in given:
        given.setdefault("top_p", 1.0)
    for name, value in given.items():
        tensor = names.get(name, "")
        if tensor not in plain.inputs:
            # TensorRT-LLM's first releases called it so
            tensor = "random_seed" if name == "seed" else tensor
        if tensor not in plain.inputs:
            unsupported(name, engine)
        yield tensor, value


def _fields(generation: Generation, plain: Plain) -> dict[str, Any]:
    """The request's settings that change something."""
    sampling, given = generation.sampling, dict[str, Any]()
    for name in (*_VLLM, "n", "logit_bias", "thinking_budget", "prompt_logprobs"):
        if (value := getattr(sampling, name)) is not None:
            given[name] = value
    given |= {name: value for name, value in sampling.extras.items() if value is not None}
    given = {name: value for name, value in given.items() if value not in _NEUTRAL.get(name, ())}
    for name in ("n", "logit_bias", "thinking_budget", "prompt_logprobs"):
        if name in given:
            unsupported(name, plain.family.value)
    return given


def _add(request: service_pb2.ModelInferRequest, plain: Plain, name: str, value: Any) -> None:
    values = [*value] if isinstance(value, list | tuple) else [value]
    shape = [1, len(values)] if plain.batched else [len(values)]
    datatype = plain.inputs[name]
    if datatype == "BYTES":
        add_texts(request, name, values, shape)
    else:
        add_numbers(request, name, datatype, values, shape)
