"""Runs requests in the engine: submits, streams and cancels them.

All state lives in the engine's loop. Every request's stream is ended exactly once, whatever happens
to its client or engine.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

from python_backends.cancellation import Cancellations
from python_backends.errors import InvalidInput, StepError, Unavailable
from python_backends.replies import Replies
from python_backends.stages import Stamp
from python_backends.templates import INFILL_MARKS
from python_backends.triton import Arrays, json_object, text
from python_backends.vllm_engine.compatible import Answer, read_plain_request
from python_backends.vllm_engine.control_characters import ControlCharacters
from python_backends.vllm_engine.engine import Engine
from python_backends.vllm_engine.events import EventWriter, Output, has_failed
from python_backends.vllm_engine.grammar_client import Host
from python_backends.vllm_engine.grammar_limits import read_grammar
from python_backends.vllm_engine.images import read_images
from python_backends.vllm_engine.parsers import ReplyParser, ReplyParsers
from python_backends.vllm_engine.sampling import STRUCTURED, Sampling, make_sampler, refusal
from python_backends.vllm_engine.vocabulary import Vocabulary

_POLL_S = 0.05
"""How often Triton is asked for disconnected clients, and an abort is repeated until it
succeeds."""


class Serving:
    """Serves one engine's requests; `submit` and `cancel` return at once."""

    def __init__(self, engine: Engine, stamp: Stamp | None = None) -> None:
        self._engine = engine
        self._stamp = stamp
        self._sampler = make_sampler(engine.llm)
        tokenizer = engine.llm.get_tokenizer()
        self._vocabulary = Vocabulary.read(tokenizer)
        self._control_characters = ControlCharacters(self._vocabulary, len(tokenizer))
        known = tokenizer.get_vocab()
        self._infill_ends = [known[mark] for mark in INFILL_MARKS if mark in known]
        self._reply_parsers = ReplyParsers(engine.parsers, engine.llm, engine.logger)
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
        # a number of our own: clients may send the same id twice, which vLLM refuses
        running = _Running(self._engine, str(next(self._numbers)), replies)
        # the gateway's ids are USER/REQUEST; others belong to one caller without a name
        running.caller = request_id.rpartition("/")[0]
        self._engine.running += 1
        self._running.add(running)
        if self._stamp is not None:
            self._stamp(f"loop in {running.id}", request_id)
            running.stamp = self._stamp
        try:
            # cancelled before it began: it runs the same way and ends at its first step
            if not self._cancellations.start(request_id, running.cancel):
                running.forget()
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
        """Runs a request of the contract: token ids in, events out."""
        if "token_ids" not in arrays:
            raise InvalidInput("send exactly one of 'token_ids', 'text_input' and 'cancel'")
        token_ids = arrays["token_ids"].reshape(-1).tolist()
        parameters: Mapping[str, Any] = json_object(arrays, "sampling_parameters") or {}
        reply = json_object(arrays, "reply")
        sent_prompt = token_ids if reply and reply.pop("prompt_token_ids", False) else None
        context_length = reply.pop("context_length", None) if reply else None
        cache_salt = reply.pop("cache_salt", None) if reply else None
        reading = self._reading(reply, parameters)
        kept = self._control_characters.excluded(
            parameters if reading is None else reading.sampling
        )
        sampling = self._sampler.read(self._ending(reply, kept), len(token_ids), context_length)
        params = sampling.params
        top = max(params.logprobs or 0, params.prompt_logprobs or 0)
        if -1 in (params.logprobs, params.prompt_logprobs):
            top = -1
        readers = reading.readers(params.n, token_ids) if reading is not None else ()
        writer = EventWriter(
            self._vocabulary, len(token_ids), params.n, top, readers, sent_prompt, sampling.copies
        )
        prompt: dict[str, Any] = {"prompt_token_ids": token_ids}
        if cache_salt:
            prompt["cache_salt"] = cache_salt
        if "images" in arrays:
            # decoding takes up to seconds, in which the loop must serve other streams
            images = await asyncio.to_thread(read_images, arrays)
            prompt["multi_modal_data"] = {"image": images}
        options = reading.engine_arguments(token_ids) if reading is not None else {}
        options = {**options, **self._engine.adapters.options(text(arrays, "adapter"))}
        by_tools = reading is not None and reading.constrains
        async with (
            self._constrained(running, params, by_tools=by_tools),
            # closed before the grammar is: the engine must not ask a process that is gone
            aclosing(running.generate(prompt, sampling, **options)) as outputs,
        ):
            async for output in outputs:
                failed = has_failed(output)
                final = output.finished and not failed
                running.stamp_output("out")
                running.replies.send_events(writer.write(output), final=final)
                running.stamp_output("sent")
                if failed:
                    raise await running.failure()
        # a cancelled request gets its last events here
        if not running.replies.ended:
            running.replies.send_events(writer.abort(), final=True)

    def _reading(
        self, reply: Mapping[str, Any] | None, parameters: Mapping[str, Any]
    ) -> ReplyParser | None:
        """The parsing of the reply; without `reply` a request gets the raw text."""
        if reply is None or reply.get("infill") or reply.get("raw"):
            return None
        return self._reply_parsers.open(reply, parameters)

    def _ending(
        self, reply: Mapping[str, Any] | None, parameters: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """In fill-in-the-middle a reply also ends at a marker of the model's format."""
        if not reply or not reply.get("infill"):
            return parameters
        stops = [*(parameters.get("stop_token_ids") or ()), *self._infill_ends]
        return {**parameters, "stop_token_ids": stops}

    async def _answer(self, running: "_Running", arrays: Arrays, parameters: str) -> None:
        """Runs a request with the tensors of Triton's vLLM backend."""
        plain = read_plain_request(arrays, parameters)
        answer = Answer(plain)
        given = dict(plain.sampling)
        options = self._engine.adapters.options(given.pop("lora_name", None))
        sampling = self._sampler.read_plain(given)
        async with (
            self._constrained(running, sampling.params),
            aclosing(running.generate({"prompt": plain.prompt}, sampling, **options)) as outputs,
        ):
            async for output in outputs:
                if has_failed(output):
                    raise await running.failure()
                if (tensors := answer.write(output)) is not None:
                    running.replies.send(tensors, final=output.finished)
        running.replies.end()

    @asynccontextmanager
    async def _constrained(
        self, running: "_Running", params: Any, *, by_tools: bool = False
    ) -> AsyncIterator[None]:
        """Opens the process of the reply's grammar for the duration of the block."""
        structured = params.structured_outputs
        if structured is None or structured.all_constraints_none():
            yield
            return
        try:
            given = {kind: getattr(structured, kind) for kind in STRUCTURED}
            grammar = read_grammar(given, self._engine.grammar_limits)
            async with running.hosted(
                self._engine.grammars.hosted(grammar, running.caller)
            ) as host:
                if host is not None:
                    # what the engine gets is the address of the process (bitmasks.py reads it)
                    params.structured_outputs = type(structured)(grammar=f'root ::= "{host.path}"')
                yield
        except InvalidInput as error:
            if by_tools:
                error.param = "tools"
            raise

    async def _poll(self) -> None:
        """Cancels requests of disconnected clients. Triton reports these only when asked, and never
        in ensembles."""
        while True:
            await asyncio.sleep(_POLL_S)
            for running in tuple(self._running):
                if not running.cancelled and running.replies.is_cancelled():
                    running.cancel()


class _Running:
    """One request inside the engine."""

    def __init__(self, engine: Engine, engine_id: str, replies: Replies) -> None:
        self._engine = engine
        self.id = engine_id
        self.stamp: Stamp | None = None
        self.replies = replies
        self.caller = ""
        self.cancelled = False
        self.finished = asyncio.Event()
        self._stopped = asyncio.Event()
        self._host: Host | None = None

    def stamp_output(self, stage: str) -> None:
        """Records the first output of a request, for benchmarks."""
        if self.stamp is not None:
            self.stamp(f"engine {stage}", self.id)

    async def generate(
        self, prompt: dict[str, Any], sampling: Sampling, **options: Any
    ) -> AsyncGenerator[Any]:
        """Yields the engine's outputs until the request is finished or cancelled."""
        if self.cancelled:
            return
        outputs = self._engine.llm.generate(
            prompt, sampling.params, self.id, priority=sampling.priority, **options
        )
        output: Output
        async with aclosing(outputs):
            async for output in outputs:
                yield output

    @asynccontextmanager
    async def hosted(
        self, hosting: AbstractAsyncContextManager[Host]
    ) -> AsyncIterator[Host | None]:
        """Opens the grammar, or returns None if the request is cancelled first."""
        entering = asyncio.ensure_future(hosting.__aenter__())
        stopping = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait((entering, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not entering.done():
                entering.cancel()
        if entering.cancelled() or not entering.done():
            yield None
            return
        self._host = entering.result()
        try:
            yield self._host
        finally:
            await hosting.__aexit__(None, None, None)

    async def failure(self) -> StepError:
        """The error for a request that the engine failed."""
        cause = None if self._host is None else await self._host.failure()
        return cause or StepError(
            "the engine failed while processing this request", code="engine_failed"
        )

    def forget(self) -> None:
        """Marks a request as cancelled before it reached the engine."""
        self.cancelled = True
        self._stopped.set()

    def cancel(self) -> None:
        """Aborts the request in the engine; the last output ends the stream."""
        if not self.cancelled:
            self.cancelled = True
            self._stopped.set()
            self._engine.loop.spawn(self._abort())

    async def _abort(self) -> None:
        """Repeated, because the engine ignores an abort that arrives before its request."""
        while not self.finished.is_set():
            await self._engine.llm.abort(self.id)
            try:
                await asyncio.wait_for(self.finished.wait(), _POLL_S)
            except TimeoutError:
                continue


def _translate(error: Exception) -> Exception:
    """Converts vLLM's exceptions to this package's; others are internal errors."""
    from vllm.exceptions import VLLMClientError  # type: ignore[import-not-found]
    from vllm.v1.engine.exceptions import EngineDeadError  # type: ignore[import-not-found]

    if isinstance(error, EngineDeadError):
        return Unavailable("the engine stopped while processing this request; try again")
    # vLLM raises ValueError for requests that it does not accept, with a text for clients
    if isinstance(error, VLLMClientError | ValueError):
        return refusal(error)
    return error
