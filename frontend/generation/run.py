"""Runs canonical requests: finds the model, takes a slot, calls Triton, counts.

Knows neither dialects nor HTTP. Whoever stops iterating stops the engine.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from tritonclient.grpc import service_pb2

from frontend.backends.catalogue import Catalogue
from frontend.backends.tensors import add_numbers, add_texts, output, unpack_bytes
from frontend.backends.triton import Triton
from frontend.domain import Drawing, Embedding, Event, Generation, Model, Vectors
from frontend.errors import BackendFailed, BackendUnavailable, InvalidRequest
from frontend.generation.admission import Admission

_NUMBERS = (
    ("steps", "INT32"),
    ("guidance", "FP32"),
    ("width", "INT32"),
    ("height", "INT32"),
    ("seed", "INT64"),
)


@dataclass(slots=True)
class Runner:
    """The path to one Triton."""

    triton: Triton
    catalogue: Catalogue
    admission: Admission
    timeout_s: float

    async def find(self, name: str, capability: str) -> Model:
        """The model `name`, if it can do `capability`. Raises NotFound, InvalidRequest."""
        model = await self.catalogue.find(name)
        if capability not in model.capabilities:
            can = ", ".join(sorted(model.capabilities)) or "nothing"
            raise InvalidRequest(
                f"the model '{name}' does not do {capability}; it does {can}",
                param="model",
                code="model_not_supported",
            )
        return model

    async def generate(
        self, model: Model, generation: Generation, request_id: str
    ) -> AsyncIterator[list[Event]]:
        """The events of one generation, in the order and the groups in which they arrive."""
        start = time.monotonic()
        async with self.admission.slot(self.timeout_s):
            left_s = self.timeout_s - (time.monotonic() - start)
            events = self.triton.generate(model, generation, request_id, left_s)
            try:
                async with aclosing(events):  # type: ignore[type-var]
                    async for group in events:
                        yield group
            except BackendUnavailable:
                self.catalogue.lost()
                raise

    async def embed(self, model: Model, embedding: Embedding, request_id: str) -> Vectors:
        """The vectors of all texts, in order; long lists travel as several batches at once."""
        texts, size = embedding.texts, model.max_batch
        batches = [texts[first : first + size] for first in range(0, len(texts), size)]
        requests = [
            _embedding_request(model.name, batch, embedding.truncate, f"{request_id}-{number}")
            for number, batch in enumerate(batches)
        ]
        answers = await self._infer_all(requests)
        parts, tokens = [], 0
        for answer in answers:
            parts.append(output(answer, "embedding")[1])
            counts = output(answer, "num_tokens")[1]
            tokens += sum(memoryview(counts).cast("i"))
        raw = b"".join(parts)
        dimensions = len(raw) // (4 * len(texts))
        return Vectors(raw, len(texts), dimensions, tokens)

    async def draw(self, model: Model, drawing: Drawing, request_id: str) -> list[bytes]:
        """PNG files."""
        request = _drawing_request(model.name, drawing, request_id)
        (answer,) = await self._infer_all([request])
        images = list(unpack_bytes(output(answer, "image")[1]))
        if len(images) != drawing.count:
            raise BackendFailed(f"the model drew {len(images)} images instead of {drawing.count}")
        return images

    async def _infer_all(
        self, requests: list[service_pb2.ModelInferRequest]
    ) -> list[service_pb2.ModelInferResponse]:
        async with self.admission.slot(self.timeout_s):
            calls = [
                asyncio.ensure_future(self.triton.infer(request, self.timeout_s))
                for request in requests
            ]
            try:
                return list(await asyncio.gather(*calls))
            except BackendUnavailable:
                self.catalogue.lost()
                raise
            finally:
                for call in calls:
                    call.cancel()


def _embedding_request(
    model: str, texts: list[str], truncate: bool, request_id: str
) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name=model, id=request_id)
    add_texts(request, "text", texts, [len(texts), 1])
    if truncate:
        add_numbers(request, "truncate", "BOOL", [True] * len(texts), [len(texts), 1])
    return request


def _drawing_request(
    model: str, drawing: Drawing, request_id: str
) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name=model, id=request_id)
    add_texts(request, "prompt", [drawing.prompt], [1])
    if drawing.negative_prompt is not None:
        add_texts(request, "negative_prompt", [drawing.negative_prompt], [1])
    for name, datatype in _NUMBERS:
        if (value := getattr(drawing, name)) is not None:
            add_numbers(request, name, datatype, [value], [1])
    add_numbers(request, "count", "INT32", [drawing.count], [1])
    return request
