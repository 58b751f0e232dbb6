"""One Triton server as an upstream.

One stream per generation, so that cancelling one touches no other. A reader that stops early also
stops the engine: Triton does not carry a cancellation into the running step of an ensemble, so a
cancel request follows by name (the tensor contract has its tensor).
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path

import grpc
from tritonclient.grpc import model_config_pb2, service_pb2

from frontend.domain.events import Events
from frontend.domain.generation import Generation, Tokenized
from frontend.domain.images import ImageRequest, ImageResult
from frontend.domain.models import Model, Version
from frontend.domain.vectors import Embedding, Pairs, Scores, Vectors
from frontend.errors import BackendUnavailable, InvalidRequest
from frontend.upstreams.counting import count_by_generating
from frontend.upstreams.declared import Declared
from frontend.upstreams.fanout import fan_out
from frontend.upstreams.protocol import Call, Figures
from frontend.upstreams.triton import control, unary
from frontend.upstreams.triton.connection import Connection, Reader
from frontend.upstreams.triton.contract import write_prompt, write_reply, write_sampling
from frontend.upstreams.triton.events import read_events
from frontend.upstreams.triton.failures import from_message
from frontend.upstreams.triton.load import Load
from frontend.upstreams.triton.models import (
    Restarts,
    Served,
    new_request,
    read_models,
    slots_of,
)
from frontend.upstreams.triton.plain.parts import (
    NO_PARTS,
    Parts,
    embedder,
    make_parts,
    split_choices,
    writer,
)
from frontend.upstreams.triton.stored import read_on_demand
from frontend.upstreams.triton.tensors import add_files, add_json, add_texts

_CANCEL_TIMEOUT_S = 10.0
_PROMPT_INPUTS = ("messages", "prompt")
_PAIR_INPUTS = ("query", "documents")
"""What the steps call their inputs in refusals."""
_log = logging.getLogger(__name__)


class Triton:
    """Create it inside the event loop that uses it."""

    def __init__(
        self,
        address: str,
        key: tuple[str, str] | None = None,
        repository: Path | None = None,
        authority: str | None = None,
        declared: Mapping[str, Declared] | None = None,
    ) -> None:
        """`key` is the name and value that open restricted control calls; `repository` is Triton's
        model repository, if this machine can read it; `authority` as `Connection` has it;
        `declared` as `read_models` has it. Raises ValueError for a template or tokenizer."""
        self._declared = declared or {}
        self._parts = make_parts(self._declared)
        self._connection = Connection(address, key, authority)
        self._repository = repository
        self._served: dict[str, Served] = {}
        self._configs: dict[str, model_config_pb2.ModelConfig] = {}
        self._restarts = Restarts()
        self._load = Load()
        self.figures: Figures | None = None
        self._cancelling: set[asyncio.Task[None]] = set()

    async def models(self) -> list[Model]:
        """The public models that are loaded. Ends the streams of models whose process died."""
        versions = await control.ready_versions(self._connection)
        configs = await control.ready_configs(self._connection, versions, self._configs)
        self._configs = {config.name: config for config in configs}
        for name in self._restarts.see(configs):
            _log.warning("%s was restarted; its streams end", name)
            self._connection.abandon_engine(name)
        served = read_models(configs, self._declared, versions)
        self._served = {one.model.name: one for one in served}
        waiting = self._load.waiting(await control.waited_ns(self._connection))
        self.figures = Figures(waiting=waiting, slots=slots_of(configs))
        return [one.model for one in served]

    @property
    def manages_models(self) -> bool:
        """By Triton's repository calls."""
        return True

    @property
    def shares_calls(self) -> bool:
        """The contract counts the tokens of each text."""
        return True

    @property
    def reads_calls(self) -> bool:
        """The text of the model is read on our side of Triton."""
        return False

    async def stored(self) -> dict[str, list[Version]]:
        """All models in the repository, steps of others too."""
        return await control.stored(self._connection)

    async def on_demand(self) -> list[Model]:
        """From the repository on disk: Triton has no config of a model that it has not loaded."""
        if self._repository is None:
            return []
        return await asyncio.to_thread(read_on_demand, self._repository)

    async def health(self) -> bool:
        """Whether Triton answers."""
        return await control.is_live(self._connection)

    async def load(self, name: str) -> None:
        """Loads a model and its steps as they are on disk."""
        await control.load(self._connection, self._own(name))

    async def unload(self, name: str) -> None:
        """Unloads a model and the steps that no other model uses."""
        await control.unload(self._connection, self._own(name))

    async def generate(self, model: Model, generation: Generation, call: Call) -> Events:
        """The events of one generation, as many at a time as Triton sends together."""
        served = self._find(model)
        if (plain := served.plain) is not None:
            plain_writer = writer(served, plain, self._parts_of(served))
            streams = [
                partial(plain_writer.generate, self._connection, one, each, self._leave)
                for one, each in split_choices(generation, call)
            ]
            async with aclosing(fan_out(streams)) as groups:
                async for number, group in groups:
                    for event in group:
                        event.index = number
                    yield group
            return
        request = new_request(served, call.id)
        add_json(request, "prompt", write_prompt(generation))
        add_json(request, "sampling_parameters", write_sampling(generation))
        # repositories of an older toolkit lack the tensor
        if "reply" in served.tensors and (reply := write_reply(generation)) is not None:
            add_json(request, "reply", reply)
        if generation.images:
            add_files(request, "images", generation.images)
        reader = self._connection.stream(request, call.timeout_s, call.headers)
        engine = served.engine or served.own
        ended = False
        try:
            with (
                _naming(_params_of(generation)),
                self._connection.running(reader.call, call.id, engine),
            ):
                while (response := await reader.read()) is not None:
                    if response.error_message:
                        ended = True
                        # the stream is read to its end instead of being cancelled: see `Reader`
                        await reader.read_out()
                        raise from_message(response.error_message, call.id)
                    # the final response of a decoupled model may be empty
                    if contents := response.infer_response.raw_output_contents:
                        yield read_events(contents[0])
                ended = True
        finally:
            if not ended:
                self._cancel_soon(reader, served, call.id)

    async def embed(self, model: Model, embedding: Embedding, call: Call) -> Vectors:
        """Long lists travel as several batches at once."""
        served = self._find(model)
        if (plain := served.plain) is not None:
            made = embedder(served, plain, self._parts_of(served))
            return await made.embed(self._connection, embedding, call)
        return await unary.embed(self._connection, served, embedding, call)

    async def rerank(self, model: Model, pairs: Pairs, call: Call) -> Scores:
        """Long lists travel as several batches at once."""
        with _naming(dict(zip(_PAIR_INPUTS, pairs.params, strict=True))):
            return await unary.rerank(self._connection, self._find(model), pairs, call)

    async def draw(self, model: Model, image: ImageRequest, call: Call) -> ImageResult:
        """All images of one request in one call."""
        return await unary.draw(self._connection, self._find(model), image, call)

    async def count(self, model: Model, generation: Generation, call: Call) -> int:
        """Only the engine knows how many tokens an image becomes, so it reads the prompt once."""
        served = self._find(model)
        if (plain := served.plain) is not None:
            counter = writer(served, plain, self._parts_of(served))
            return await counter.count(self._connection, generation, call)
        step = served.tokenizer
        if step is not None and not generation.images:
            with _naming(_params_of(generation)):
                return await unary.count(self._connection, step, generation, call)
        return await count_by_generating(self, model, generation, call)

    async def tokenize(
        self, model: Model, generation: Generation, call: Call, *, strings: bool
    ) -> Tokenized:
        """As the model's first step does it."""
        served = self._find(model)
        if (plain := served.plain) is not None:
            own = writer(served, plain, self._parts_of(served))
            return await own.tokenize(generation, strings=strings)
        with _naming(_params_of(generation)):
            return await unary.tokenize(
                self._connection, self._tokenizer(model), generation, call, strings=strings
            )

    async def detokenize(self, model: Model, ids: list[int], call: Call) -> str:
        """As the model's first step does it."""
        tokenizer = self._parts_of(self._find(model)).tokens.tokenizer
        if tokenizer is not None:
            return str(await asyncio.to_thread(tokenizer.decode, ids, skip_special_tokens=False))
        return await unary.detokenize(self._connection, self._tokenizer(model), ids, call)

    def abandon(self) -> None:
        """Ends every running call; each raises Overloaded."""
        self._connection.abandon()

    async def close(self) -> None:
        """Waits for cancel requests, then closes the connection."""
        # an engine that missed its cancel request would go on to its last token
        if self._cancelling:
            await asyncio.wait(self._cancelling, timeout=_CANCEL_TIMEOUT_S)
        await self._connection.close()

    def _find(self, model: Model) -> Served:
        if (served := self._served.get(model.name)) is None:
            raise BackendUnavailable(f"the model '{model.name}' is not loaded now; try again later")
        return served

    def _own(self, name: str) -> str:
        """Triton's name of a model."""
        return next((own for own, one in self._declared.items() if one.name == name), name)

    def _parts_of(self, served: Served) -> Parts:
        return self._parts.get(served.own, NO_PARTS)

    def _tokenizer(self, model: Model) -> str:
        """The step that shows tokens. Raises InvalidRequest where there is none."""
        served = self._find(model)
        if served.tokenizer is None or not served.shows_tokens:
            raise InvalidRequest(
                f"the model '{model.name}' does not show its tokens; the operator can rebuild its"
                " repository (toolkit build-repo)",
                param="model",
                code="model_not_supported",
            )
        return served.tokenizer

    def _leave(self, reader: Reader, stop: service_pb2.ModelInferRequest | None) -> None:
        """Ends a stream of a model of another builder; `stop` asks its engine to stop."""
        reader.call.cancel()
        if stop is not None:
            task = asyncio.get_running_loop().create_task(self._ask_to_stop(stop))
            self._cancelling.add(task)
            task.add_done_callback(self._cancelling.discard)

    async def _ask_to_stop(self, stop: service_pb2.ModelInferRequest) -> None:
        # the server may be gone, and the request with it
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
            await self._connection.stream(stop, _CANCEL_TIMEOUT_S).read_out()

    def _cancel_soon(self, reader: Reader, served: Served, call_id: str) -> None:
        """Stops the engine from a task of its own: the caller is being cancelled itself."""
        # without such a step gRPC's cancellation is all there is
        if served.engine is None:
            reader.call.cancel()
            return
        # a model that is its own engine may have several versions
        version = served.version if served.engine == served.own else ""
        request = service_pb2.ModelInferRequest(model_name=served.engine, model_version=version)
        task = asyncio.get_running_loop().create_task(self._cancel(reader, request, call_id))
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)

    async def _cancel(
        self, reader: Reader, request: service_pb2.ModelInferRequest, call_id: str
    ) -> None:
        """Sends the cancel request and reads what still comes, until the stream ends with it."""
        add_texts(request, "cancel", [call_id], [1])
        try:
            async with asyncio.timeout(_CANCEL_TIMEOUT_S):
                # a failure here means that the server is gone, and the request with it
                with contextlib.suppress(grpc.RpcError):
                    await self._connection.stream(request, _CANCEL_TIMEOUT_S).read_out()
                # the engine ends a cancelled request with a last event
                with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
                    await reader.read_out()
        except TimeoutError:
            text = "request %s did not end within %g s of being cancelled"
            _log.warning(text, call_id, _CANCEL_TIMEOUT_S, extra={"id": call_id})
        finally:
            reader.call.cancel()


@contextlib.contextmanager
def _naming(params: Mapping[str, str]) -> Iterator[None]:
    """A step's refusal names its own input; the caller knows it by another name."""
    try:
        yield
    except InvalidRequest as error:
        error.param = params.get(error.param or "", error.param)
        raise


def _params_of(generation: Generation) -> dict[str, str]:
    return dict.fromkeys(_PROMPT_INPUTS, generation.param)
