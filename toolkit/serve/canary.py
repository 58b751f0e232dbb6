"""Small requests that prove each model still answers: Triton calls a dead model READY.

A canary costs next to nothing: a language model gets a cancel request for an id that nobody has, a
diffusion model encodes one prompt.
"""

import struct
from collections.abc import Callable, Iterator

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from toolkit.serve.catalogue import ServedModel

_TIMEOUT_S = 30.0


def sick_model(
    models: list[ServedModel], api: service_pb2_grpc.GRPCInferenceServiceStub
) -> str | None:
    """The first model that does not answer, with the reason; None when all do."""
    for model in models:
        if canary := _CANARIES.get(model.kind):
            try:
                canary(model, api)
            except grpc.RpcError as error:
                return f"{model.name}: {error.code().name}: {error.details()}"
    return None


def _ask_llm(model: ServedModel, api: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    engine = model.parameter("toolkit.cancel")
    if not engine:
        return  # a user's own: only a whole request would prove anything
    first = _first_step(model)
    if first and first != engine:
        api.ModelInfer(_request(first, prompt='{"text": "ok"}'), timeout=_TIMEOUT_S)
    cancel = _request(engine, cancel="canary")
    cancel.parameters["triton_enable_empty_final_response"].bool_param = True
    answers: Iterator[service_pb2.ModelStreamInferResponse]
    answers = api.ModelStreamInfer(iter([cancel]), timeout=_TIMEOUT_S)
    for _ in answers:
        pass  # to the end: Triton never unloads a model whose stream was left before it


def _ask_embedding(model: ServedModel, api: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    api.ModelInfer(_request(model.name, batched=True, text="ok"), timeout=_TIMEOUT_S)


def _ask_rerank(model: ServedModel, api: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    request = _request(model.name, batched=True, query="ok", document="ok")
    api.ModelInfer(request, timeout=_TIMEOUT_S)


def _ask_diffusion(model: ServedModel, api: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    if first := _first_step(model):
        api.ModelInfer(_request(first, prompt="ok"), timeout=_TIMEOUT_S)


def _first_step(model: ServedModel) -> str | None:
    """The step that takes the ensemble's `prompt`; None where a user has built it otherwise."""
    steps = model.config.ensemble_scheduling.step
    return steps[0].model_name if steps and "prompt" in steps[0].input_map else None


_CANARIES: dict[str, Callable[[ServedModel, service_pb2_grpc.GRPCInferenceServiceStub], None]] = {
    "llm": _ask_llm,
    "embedding": _ask_embedding,
    "rerank": _ask_rerank,
    "diffusion": _ask_diffusion,
}


def _request(model: str, *, batched: bool = False, **texts: str) -> service_pb2.ModelInferRequest:
    """A request whose inputs are one STRING each, of shape [1] or [1, 1]."""
    request = service_pb2.ModelInferRequest(model_name=model, id="canary")
    for name, text in texts.items():
        shape = [1, 1] if batched else [1]
        request.inputs.add(name=name, datatype="BYTES", shape=shape)
        data = text.encode()
        request.raw_input_contents.append(struct.pack("<I", len(data)) + data)
    return request
