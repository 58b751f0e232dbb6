"""The config of a model of another builder → which of its tensors the gateway uses. Pure.

Names, types and shapes are those of `triton-inference-server/vllm_backend` (src/model.py) and of
`triton_backend/all_models/{inflight_batcher_llm,llmapi}` in TensorRT-LLM's repository.
"""

import enum
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from tritonclient.grpc import model_config_pb2
from tritonclient.grpc.model_config_pb2 import ModelConfig

from frontend.domain.models import Input, Model
from frontend.domain.upstreams import TensorNames
from frontend.upstreams.declared import Declared, declare
from frontend.upstreams.triton.plain.templates import has_tools

_log = logging.getLogger(__name__)


class Family(enum.Enum):
    """The backend that defines a model's tensors."""

    VLLM = "vllm"
    ENSEMBLE = "tensorrt-llm"
    """TensorRT-LLM's ensemble, or the `tensorrt_llm_bls` in its place."""
    LLMAPI = "tensorrt-llm-api"
    VECTORS = "embedding"


@dataclass(frozen=True, slots=True)
class Plain:
    """One model as Triton has it. `inputs`: their datatypes by name.

    `batched`: its tensors begin with a batch dimension. `streams`: it answers in pieces;
    `cumulative`: each piece is the whole text so far. `counter` and `stopper`: the steps that
    tokenize a prompt and that end a request, where they are known.
    """

    family: Family
    inputs: Mapping[str, str]
    outputs: frozenset[str]
    batched: bool
    streams: bool
    cumulative: bool = False
    counter: str | None = None
    stopper: str | None = None
    tensors: TensorNames | None = None
    rows: bool = False
    """Whether a call of an embedding model takes several texts."""
    column: bool = False
    """Whether its texts are in a tensor of shape [texts, 1]."""
    version: str = ""
    """The version that requests name; none: the newest one that is loaded."""


def read_plain(
    config: ModelConfig, configs: Mapping[str, ModelConfig], facts: Declared | None
) -> tuple[Model, Plain] | None:
    """The model that a config describes; None for one that the gateway cannot use.

    `configs`: all that are loaded; `facts`: what the operator declares of this one.
    """
    plain = _vectors(config, facts) or _text(config, configs)
    if plain is None:
        return None
    if missing := _missing(config, plain):
        text = "%s is not served: the gateway has no value for its input '%s'"
        _log.warning(text, config.name, sorted(missing)[0])
        return None
    model = _model(config.name, plain, facts)
    return (model if facts is None else declare(model, facts)), plain


def steps_of(configs: Iterable[ModelConfig]) -> set[str]:
    """The models that are steps of others."""
    return {str(s.model_name) for c in configs for s in c.ensemble_scheduling.step}


def _text(config: ModelConfig, configs: Mapping[str, ModelConfig]) -> Plain | None:
    inputs, outputs = _inputs(config), frozenset(one.name for one in config.output)
    if inputs.get("text_input") != "BYTES" or "text_output" not in outputs:
        return None
    if "sampling_parameters" in inputs:
        family = Family.VLLM
    elif any(name.startswith("sampling_param_") for name in inputs):
        family = Family.LLMAPI
    elif "max_tokens" in inputs:
        family = Family.ENSEMBLE
    else:
        return None
    steps = [
        configs[s.model_name] for s in config.ensemble_scheduling.step if s.model_name in configs
    ]
    return Plain(
        family,
        inputs,
        outputs,
        batched=config.max_batch_size > 0,
        streams=any(one.model_transaction_policy.decoupled for one in (config, *steps)),
        cumulative=family is Family.LLMAPI or _accumulates(config),
        counter=_step(steps, {"QUERY", "REQUEST_OUTPUT_LEN"}, {"REQUEST_INPUT_LEN"}),
        stopper=_step(steps, {"input_ids", "stop"}, set()),
    )


def _accumulates(config: ModelConfig) -> bool:
    """Whether `tensorrt_llm_bls` answers with the whole text so far."""
    # asking a map of protobuf for a key adds it
    if "accumulate_tokens" not in config.parameters:
        return False
    return str(config.parameters["accumulate_tokens"].string_value).lower() == "true"


def _step(
    steps: Iterable[ModelConfig], inputs: Collection[str], outputs: Collection[str]
) -> str | None:
    for step in steps:
        has = {one.name for one in step.input}, {one.name for one in step.output}
        if has[0].issuperset(inputs) and has[1].issuperset(outputs):
            return str(step.name)
    return None


def _vectors(config: ModelConfig, facts: Declared | None) -> Plain | None:
    if facts is None or facts.tensors is None:
        return None
    names, inputs = facts.tensors, _inputs(config)
    outputs = frozenset(one.name for one in config.output)
    first = names.text or names.ids or ""
    for name in (first, names.mask, names.types):
        if name is not None and name not in inputs:
            text = "%s is not served: 'tensors' names the input '%s', and it has %s"
            _log.warning(text, config.name, name, ", ".join(sorted(inputs)) or "none")
            return None
    if names.vector not in outputs:
        text = "%s is not served: 'tensors' names the output '%s', and it has %s"
        _log.warning(text, config.name, names.vector, ", ".join(sorted(outputs)) or "none")
        return None
    dims = next([*one.dims] for one in config.input if one.name == first)
    batched = config.max_batch_size > 0
    # a first dimension of -1 takes several texts; ONNX models have theirs in front of the tokens
    rows = batched or (dims[:1] == [-1] and (names.ids is None or len(dims) > 1))
    column = names.text is not None and len(dims) + batched > 1
    return Plain(
        Family.VECTORS, inputs, outputs, batched, False, tensors=names, rows=rows, column=column
    )


def _model(name: str, plain: Plain, facts: Declared | None) -> Model:
    is_vectors = plain.family is Family.VECTORS
    able = {"embedding"} if is_vectors else {"completion"}
    if facts is not None and facts.chat_template is not None and not is_vectors:
        able.add("chat")
    owner = "triton" if is_vectors else plain.family.value
    normalized = plain.tensors is None or plain.tensors.normalize
    kind = "embedding" if is_vectors else "llm"
    accepts = {Input.TOKEN_IDS} if plain.tensors is not None and plain.tensors.ids else set()
    if "chat" in able and facts is not None and has_tools(facts.chat_template or ""):
        accepts.add(Input.TOOLS)
    return Model(
        name, kind, (), frozenset(able), None, None, None, owner, 0, frozenset(accepts),
        normalized=normalized,
    )  # fmt: skip


def _inputs(config: ModelConfig) -> dict[str, str]:
    return {one.name: _datatype(one.data_type) for one in config.input}


def _datatype(number: int) -> str:
    name: str = model_config_pb2.DataType.Name(number).removeprefix("TYPE_")
    return "BYTES" if name == "STRING" else name


_SENT = {
    Family.VLLM: {"text_input"},
    Family.ENSEMBLE: {"text_input", "max_tokens", "bad_words", "stop_words", "stream"},
    Family.LLMAPI: {"text_input"},
}


def _missing(config: ModelConfig, plain: Plain) -> set[str]:
    """Inputs that the model needs and the gateway never sends."""
    required = {one.name for one in config.input if not one.optional}
    if (names := plain.tensors) is not None:
        return required - {names.text, names.ids, names.mask, names.types}
    return required - _SENT[plain.family]
