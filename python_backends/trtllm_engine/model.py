"""The engine step on TensorRT-LLM: asks the `llmapi` model beside it, and answers with events.

NVIDIA's model uses other tensor names and reads text instead of token ids. A thread per request
waits for that model's responses; everything else runs in one loop.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from python_backends.cancellation import Cancellations
from python_backends.errors import ContextOverflow, InvalidInput, StepError
from python_backends.loop import LoopThread
from python_backends.replies import Pace, Replies
from python_backends.triton import (
    Arrays,
    Request,
    Settings,
    backend,
    json_object,
    read,
    text,
    texts,
)
from python_backends.trtllm_engine.prompt import Prompts
from python_backends.trtllm_engine.sampling import sampling_tensors
from python_backends.trtllm_engine.stream import Stream

_OUTPUTS = ("text_output", "finish_reason", "stop_reason")
_ASKS = ("return_finish_reason", "return_stop_reason", "sampling_param_exclude_input_from_output")
_REPLY = ("tools", "infill")
"""Fields of `reply` that need a reader of the model's own marks, which this engine has not."""


_KEPT_S = 5.0
"""Seconds for which the answers of an ended request are kept."""

_STOPS = 16
"""Threads that hand over cancels; each takes milliseconds."""


@dataclass(slots=True)
class _Turn:
    """One request: what NVIDIA's model gets, and where its answers go."""

    request_id: str
    tensors: dict[str, Any]
    replies: Replies
    stream: Stream
    prompt_ids: dict[str, Any] = field(default_factory=dict)
    job: "Future[None] | None" = None
    cancelled: bool = False
    stop: Callable[[], None] = lambda: None


class TritonPythonModel:
    """Called by Triton; `execute` returns at once."""

    def initialize(self, args: Mapping[str, str]) -> None:
        settings = Settings.read(args)
        self._peer = settings.parameters["model"]
        self._context = settings.number("context_length", 0)
        self._prompts = Prompts(settings.path("tokenizer", "tokenizer"))
        self._loop = LoopThread("trtllm")
        # a thread per stream: the stub's iterator of decoupled responses blocks
        self._threads = ThreadPoolExecutor(settings.number("streams", 256))
        # a cancel frees a stream's thread, so it must not wait for one
        self._stops = ThreadPoolExecutor(_STOPS)
        self._cancellations = Cancellations()
        self._pace = Pace()

    def execute(self, requests: Sequence[Request]) -> None:
        for request in requests:
            replies = Replies(request.get_response_sender(), self._pace)
            try:
                self._take(request.request_id(), read(request), replies)
            except Exception as error:  # a stream that is not ended hangs its client
                self._loop.call(replies.fail, error)

    def finalize(self) -> None:
        # without waiting: a thread may be blocked in an answer that never comes
        for threads in (self._threads, self._stops):
            threads.shutdown(wait=False, cancel_futures=True)
        self._loop.stop()

    def _take(self, request_id: str, arrays: Arrays, replies: Replies) -> None:
        if "cancel" in arrays:
            self._loop.call(self._cancellations.cancel, text(arrays, "cancel") or "")
            self._loop.call(replies.end)
            return
        reply = json_object(arrays, "reply") or {}
        for name in _REPLY:
            if reply.get(name) and not reply.get("raw") and reply.get("tool_choice") != "none":
                raise InvalidInput(f"the TensorRT-LLM engine does not support '{name}'", param=name)
        if "token_ids" not in arrays:
            raise InvalidInput("send either 'token_ids' or 'cancel'", param="token_ids")
        ids = [int(each) for each in arrays["token_ids"].reshape(-1)]
        if (room := self._context - len(ids)) < 1:
            raise ContextOverflow(
                f"the prompt has {len(ids)} tokens, which leaves no room for a reply in the model's"
                f" context of {self._context}; shorten it",
                param="prompt",
                limit=self._context,
                prompt_tokens=len(ids),
                requested_tokens=1,
            )
        sampling = json_object(arrays, "sampling_parameters") or {}
        tensors = sampling_tensors(sampling, room, self._context)
        tensors["text_input"] = texts([self._prompts.text(ids).encode()])
        turn = _Turn(request_id, tensors, replies, Stream(len(ids)))
        if reply.get("prompt_token_ids"):
            turn.prompt_ids = {"prompt_token_ids": ids}
        # at once, not when a thread is free: a cancel is remembered for 30 s only
        self._loop.call(self._start, turn)

    def _start(self, turn: "_Turn") -> None:
        turn.stop = partial(self._cancel, turn)
        if self._cancellations.start(turn.request_id, turn.stop):
            turn.job = self._threads.submit(self._serve, turn)
        else:
            self._send(turn.replies, turn.stream.aborted())

    def _cancel(self, turn: "_Turn") -> None:
        # true while it waits for a thread: NVIDIA's model does not know of it yet
        if turn.job is not None and turn.job.cancel():
            self._send(turn.replies, turn.stream.aborted())
            self._cancellations.end(turn.request_id, turn.stop)
        else:
            turn.cancelled = True
            self._stops.submit(self._stop, turn.request_id)

    def _serve(self, turn: "_Turn") -> None:
        replies, stream, prompt_ids = turn.replies, turn.stream, turn.prompt_ids
        try:
            # the stop may reach NVIDIA's model before the request does, and is then forgotten there
            if turn.cancelled:
                self._send(replies, stream.aborted())
                return
            asks = {name: np.array([True]) for name in ("streaming", *_ASKS)}
            for answer in self._ask(turn.request_id, {**turn.tensors, **asks}):
                if stream.finished:
                    continue  # to the end, which frees what Triton holds for the request
                if answer.has_error():
                    # Triton's own text is not passed on: it may quote paths of the server
                    raise StepError("the engine failed while processing this request")
                if (event := _event(stream, answer)) is not None:
                    self._send(replies, {**event, **prompt_ids})
                    prompt_ids = {}
            # the peer ended without a reason, as it does after a stop
            if not stream.finished:
                self._send(replies, stream.aborted())
        except Exception as error:  # a stream that is not ended hangs its client
            self._loop.call(replies.fail, error)
        finally:
            self._loop.call(self._cancellations.end, turn.request_id, turn.stop)

    def _send(self, replies: Replies, event: dict[str, Any]) -> None:
        final = event["finish_reason"] is not None
        self._loop.call(partial(replies.send_events, [event], final=final))

    def _stop(self, request_id: str) -> None:
        """NVIDIA's model ends what runs under the id, and answers with an error of its own."""
        tensors = {"text_input": texts([b""]), "stop": np.array([True])}
        for _ in self._ask(request_id, tensors):
            pass

    def _ask(self, request_id: str, tensors: Mapping[str, Any]) -> Iterator[Any]:
        """Yields the peer's answers."""
        stub: Any = backend()
        request = stub.InferenceRequest(
            model_name=self._peer,
            request_id=request_id,
            requested_output_names=list(_OUTPUTS),
            inputs=[stub.Tensor(name, values) for name, values in tensors.items()],
        )
        answers = request.exec(decoupled=True)
        try:
            yield from answers
        finally:
            self._loop.call(self._keep, answers)

    def _keep(self, answers: object) -> None:
        # a thread of the stub drops its own reference after the last answer, and without Python's
        # lock: the last one must be ours, as it frees Python objects
        asyncio.get_running_loop().call_later(_KEPT_S, lambda: answers)


def _event(stream: Stream, answer: Any) -> dict[str, Any] | None:
    """None for the empty answer that ends a stream."""
    values = {tensor.name(): tensor.as_numpy().reshape(-1) for tensor in answer.output_tensors()}
    if "text_output" not in values or not values["text_output"].size:
        return None
    fields = {name: _text(array[0]) for name, array in values.items() if array.size}
    reason, stop_reason = fields.get("finish_reason", ""), fields.get("stop_reason", "None")
    return stream.event(fields["text_output"], reason, stop_reason)


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else bytes(value).decode(errors="replace")
