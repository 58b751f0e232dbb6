"""Small requests that check whether each model still answers: Triton calls a dead model READY.

A probe calls one step, so that it waits only for that step's own work, and it is cheap: an engine
gets a cancel request for an unknown id, other steps a few tokens or the text that their interface
names (`toolkit.contract`). An error response counts as an answer, too.
"""

import json
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from random import choice, choices

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from toolkit.contract import CANCEL, INTERFACES, Interface
from toolkit.model_config import TYPE_INT64, TYPE_STRING, ModelConfig
from toolkit.serve.models import ServedModel

_UNHEALTHY = "is not healthy"
_AGAIN_S = 1.0
_ID = "liveness-probe"
_TOKENS, _IDS = 8, (0, 1, 2, 3)
_SPECIAL = {"mask": (1,), "type": (0,)}


@dataclass(frozen=True, slots=True)
class Probe:
    """One step of a model, and how to make a request for it that is not in a cache."""

    step: str
    make: Callable[[], service_pb2.ModelInferRequest]
    decoupled: bool = False

    def run(self, api: service_pb2_grpc.GRPCInferenceServiceStub, timeout_s: float) -> None:
        """Returns when the step has answered, or is not loaded.

        "Not healthy" is not an answer: Triton returns it if a process is gone or stopped, but also
        if a busy machine delayed it for a second (measured with SIGSTOP).
        """
        while _UNHEALTHY in self.refusal(api, timeout_s):
            time.sleep(_AGAIN_S)

    def refusal(self, api: service_pb2_grpc.GRPCInferenceServiceStub, timeout_s: float) -> str:
        """Waits for the answer; returns the text if it is an error, else ""."""
        try:
            if not self.decoupled:
                api.ModelInfer(self.make(), timeout=timeout_s)
                return ""
            answers: Iterator[service_pb2.ModelStreamInferResponse]
            answers = api.ModelStreamInfer(iter([self.make()]), timeout=timeout_s)
            # read to the end: Triton 2.51 never unloads a model whose stream was left before it
            return " ".join([answer.error_message for answer in answers]).strip()
        except grpc.RpcError as error:
            return error.details() or error.code().name


def probes(models: Iterable[ServedModel], configs: Mapping[str, ModelConfig]) -> Iterator[Probe]:
    """A probe for each step that has a cheap request; `configs` are those of all loaded models."""
    for model in models:
        if interface := INTERFACES.get(model.kind):
            yield from _of_model(model, interface, configs)


def _of_model(
    model: ServedModel, interface: Interface, configs: Mapping[str, ModelConfig]
) -> Iterator[Probe]:
    """Its steps that take only texts or tokens, or the model itself if it is not an ensemble.

    A row of a batched interface is cheap in every step; in other models only the first step is.
    """
    engine = model.parameter(CANCEL) if interface.decoupled else ""
    if interface.decoupled and not engine:
        return  # written by a user: only a complete request would prove anything
    steps = [step.model_name for step in model.config.ensemble_scheduling.step]
    # later steps of a diffusion model draw an image, which takes seconds
    steps = (steps or [model.name]) if interface.batched else steps[:1]
    for config in (configs[name] for name in steps if name in configs and name != engine):
        types = {tensor.data_type for tensor in config.input if not tensor.optional}
        if types <= {TYPE_STRING, TYPE_INT64} and not config.model_transaction_policy.decoupled:
            yield Probe(config.name, partial(_small, config, interface))
    if engine:
        yield Probe(engine, partial(_cancel, engine), decoupled=True)


def _cancel(engine: str) -> service_pb2.ModelInferRequest:
    """A cancel request for an unknown id."""
    request = service_pb2.ModelInferRequest(model_name=engine, id=_ID)
    request.inputs.add(name="cancel", datatype="BYTES", shape=[1])
    # an engine remembers it for requests that come later, so no request may have this id
    request.raw_input_contents.append(_bytes(_ID))
    # an engine answers a cancel with only a final flag, which Triton otherwise does not send
    request.parameters["triton_enable_empty_final_response"].bool_param = True
    return request


def _small(config: ModelConfig, interface: Interface) -> service_pb2.ModelInferRequest:
    """One short text, or a few tokens, for each required input."""
    request = service_pb2.ModelInferRequest(model_name=config.name, id=_ID)
    for tensor in config.input:
        if tensor.optional:
            continue
        texts = tensor.data_type == TYPE_STRING
        shape = [1] * (config.max_batch_size > 0) + [1 if texts else _TOKENS]
        request.inputs.add(name=tensor.name, datatype="BYTES" if texts else "INT64", shape=shape)
        if texts:
            _, text = interface.request.get(tensor.name, ("BYTES", "ok"))
            data = _bytes(_varied(str(text)))
        else:
            ids = next((ids for part, ids in _SPECIAL.items() if part in tensor.name), _IDS)
            data = struct.pack(f"<{_TOKENS}q", *choices(ids, k=_TOKENS))  # noqa: S311
        request.raw_input_contents.append(data)
    return request


def _varied(text: str) -> str:
    """The text with a random number: Triton's response cache would answer for a dead model."""
    number = choice(range(1000))  # noqa: S311
    # the prompt of a language model is JSON
    if text.startswith("{"):
        return json.dumps({"text": f"{number} {json.loads(text)['text']}"})
    return f"{text} {number}"


def _bytes(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode()
