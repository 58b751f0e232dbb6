"""Requests on their way through the engine: submitted, streamed, cancelled.

All state lives in the engine's loop. Every request's stream is ended exactly once, whatever happens
to its client or its engine.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from typing import Any

from python_backends.cancellation import Cancellations
from python_backends.errors import InvalidInput, Unavailable
from python_backends.replies import Replies
from python_backends.templates import INFILL_MARKS
from python_backends.triton import Arrays, json_object, text
from python_backends.vllm_engine.compatible import Answer, read_question
from python_backends.vllm_engine.engine import Engine
from python_backends.vllm_engine.events import EventWriter, Output
from python_backends.vllm_engine.images import read_images
from python_backends.vllm_engine.reading import Reading, Readings
from python_backends.vllm_engine.sampling import Sampling, make_sampler, refusal
from python_backends.vllm_engine.structure import ControlCharacters
from python_backends.vllm_engine.vocabulary import Vocabulary

_POLL_S = 0.05
"""How often Triton is asked for clients that left, and an abort is repeated until it took."""


class Serving:
    """Serves one engine's requests; `submit` and `cancel` return at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sampler = make_sampler(engine.llm)
        tokenizer = engine.llm.get_tokenizer()
        self._vocabulary = Vocabulary.read(tokenizer)
        self._control_characters = ControlCharacters(self._vocabulary, len(tokenizer))
        known = tokenizer.get_vocab()
        self._infill_ends = [known[mark] for mark in INFILL_MARKS if mark in known]
        self._readings = Readings(engine.parsers, engine.llm, engine.logger)
        self._cancellations = Cancellations()
        self._numbers = itertools.count()
        self._running: set[_Running] = set()
        engine.loop.call(lambda: engine.loop.spawn(self._poll()))

    def submit(self, request_id: str, arrays: Arrays, parameters: str, replies: Replies) -> None:
        loop = self._engine.loop
        loop.call(lambda: loop.spawn(self._serve(request_id, arrays, parameters, replies)))

    def cancel(self, request_id: str) -> None:
        self._engine.loop.call(self._cancellations.cancel, request_id)

    async def _serve(
        self, request_id: str, arrays: Arrays, parameters: str, replies: Replies
    ) -> None:
        running = _Running(self._engine, str(next(self._numbers)), replies)
        self._engine.running += 1
        self._running.add(running)
        try:
            if not self._cancellations.start(request_id, running.cancel):
                running.cancelled = True
            if "text_input" in arrays:
                await self._answer(running, arrays, parameters)
            else:
                await self._stream(running, arrays)
        except Exception as error:  # a stream that is not ended hangs its client
            replies.fail(_translate(error))
        finally:
            replies.fail(Unavailable("the server is shutting down"))  # unless it has ended
            running.finished.set()
            if running.cancelled:
                self._engine.logger.log_info(f"request '{request_id}' cancelled and stopped")
            self._cancellations.end(request_id, running.cancel)
            self._running.discard(running)
            self._engine.running -= 1

    async def _stream(self, running: "_Running", arrays: Arrays) -> None:
        """The contract's own request: token ids in, events out."""
        if "token_ids" not in arrays:
            raise InvalidInput("send one of 'token_ids', 'text_input' and 'cancel'")
        token_ids = arrays["token_ids"].reshape(-1).tolist()
        wanted: Mapping[str, Any] = json_object(arrays, "sampling_parameters") or {}
        reply = json_object(arrays, "reply")
        told_prompt = token_ids if reply and reply.pop("prompt_token_ids", False) else None
        context_length = reply.pop("context_length", None) if reply else None
        reading = self._reading(reply, wanted)
        if reading is not None:
            wanted = reading.sampling
        wanted = self._ending(reply, self._control_characters.kept_out(wanted))
        sampling = self._sampler.read(wanted, len(token_ids), context_length)
        params = sampling.params
        top = max(params.logprobs or 0, params.prompt_logprobs or 0)
        if -1 in (params.logprobs, params.prompt_logprobs):
            top = -1
        readers = reading.readers(params.n, token_ids) if reading is not None else ()
        writer = EventWriter(
            self._vocabulary, len(token_ids), params.n, top, readers, told_prompt, sampling.copies
        )
        prompt: dict[str, Any] = {"prompt_token_ids": token_ids}
        if "images" in arrays:
            images = await asyncio.to_thread(read_images, arrays)
            prompt["multi_modal_data"] = {"image": images}
        options = reading.engine_arguments(token_ids) if reading is not None else {}
        options = {**options, **self._engine.adapters.options(text(arrays, "adapter"))}
        async for output in running.generate(prompt, sampling, **options):
            running.replies.send_events(writer.write(output), final=output.finished)
        if not running.replies.ended:
            running.replies.send_events(writer.abort(), final=True)

    def _reading(
        self, reply: Mapping[str, Any] | None, wanted: Mapping[str, Any]
    ) -> Reading | None:
        """How the reply is to be read; a request without `reply` wants the bare text."""
        if reply is None or reply.get("infill") or reply.get("raw"):
            return None
        return self._readings.open(reply, wanted)

    def _ending(
        self, reply: Mapping[str, Any] | None, wanted: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """A middle that is being filled in ends where the model writes a mark of its format."""
        if not reply or not reply.get("infill"):
            return wanted
        stops = [*(wanted.get("stop_token_ids") or ()), *self._infill_ends]
        return {**wanted, "stop_token_ids": stops}

    async def _answer(self, running: "_Running", arrays: Arrays, parameters: str) -> None:
        """Triton's own vLLM tensors."""
        question = read_question(arrays, parameters)
        answer = Answer(question)
        wanted = dict(question.sampling)
        options = self._engine.adapters.options(wanted.pop("lora_name", None))
        sampling = self._sampler.read_plain(wanted)
        async for output in running.generate({"prompt": question.prompt}, sampling, **options):
            if (tensors := answer.write(output)) is not None:
                running.replies.send(tensors, final=output.finished)
        running.replies.end()

    async def _poll(self) -> None:
        """Triton tells of clients that went away only when asked; inside ensembles never."""
        while True:
            await asyncio.sleep(_POLL_S)
            for running in tuple(self._running):
                if not running.cancelled and running.replies.is_cancelled():
                    running.cancel()


class _Running:
    """One request inside the engine."""

    def __init__(self, engine: Engine, engine_id: str, replies: Replies) -> None:
        self._engine = engine
        self._id = engine_id
        self.replies = replies
        self.cancelled = False
        self.finished = asyncio.Event()

    async def generate(
        self, prompt: dict[str, Any], sampling: Sampling, **options: Any
    ) -> AsyncIterator[Any]:
        """The engine's outputs until it is finished or cancelled."""
        if self.cancelled:
            return
        outputs = self._engine.llm.generate(
            prompt, sampling.params, self._id, priority=sampling.priority, **options
        )
        output: Output
        async for output in outputs:
            yield output

    def cancel(self) -> None:
        """Makes the engine stop; its last output then ends the stream."""
        if not self.cancelled:
            self.cancelled = True
            self._engine.loop.spawn(self._abort())

    async def _abort(self) -> None:
        """Repeated, as the engine forgets an abort that comes before it took the request in."""
        while not self.finished.is_set():
            await self._engine.llm.abort(self._id)
            try:
                await asyncio.wait_for(self.finished.wait(), _POLL_S)
            except TimeoutError:
                continue


def _translate(error: Exception) -> Exception:
    """vLLM's exceptions as this package's; others stay what they are and are nobody's promise."""
    from vllm.exceptions import VLLMClientError  # type: ignore[import-not-found]
    from vllm.v1.engine.exceptions import EngineDeadError  # type: ignore[import-not-found]

    if isinstance(error, EngineDeadError):
        return Unavailable("the engine stopped while it worked on this request; try again")
    if isinstance(error, VLLMClientError | ValueError):
        return refusal(error)
    return error
