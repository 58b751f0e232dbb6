"""Runs scripts: sends events with pauses, fails, stops when cancelled, and logs each request.

All state lives in the loop thread.
"""

import asyncio
import base64
import os
import signal
from collections.abc import Mapping
from typing import Any

from python_backends.cancellation import Cancellations
from python_backends.echo.journal import Entry, Journal
from python_backends.echo.script import Script, abort_event, count_tokens, events, read_script
from python_backends.errors import ContextOverflow, StepError
from python_backends.loop import LoopThread
from python_backends.replies import Replies
from python_backends.triton import Arrays, json_object

_WATCH_INTERVAL_S = 0.02
"""How often a waiting script looks whether Triton says that its client went away."""


class EchoEngine:
    """One engine; `submit` and `cancel` return at once."""

    def __init__(self, context_length: int) -> None:
        self._context_length = context_length
        self._loop = LoopThread("echo")
        self._cancellations = Cancellations()
        self._journal = Journal()

    def submit(self, request_id: str, arrays: Arrays, replies: Replies) -> None:
        self._loop.call(lambda: self._loop.spawn(self._serve(request_id, arrays, replies)))

    def cancel(self, request_id: str) -> None:
        self._loop.call(self._cancellations.cancel, request_id)

    def report(self, request_id: str) -> Mapping[str, Any]:
        async def read() -> Mapping[str, Any]:
            return self._journal.report(request_id)

        return self._loop.run(read())

    def stop(self) -> None:
        self._loop.stop()

    async def _serve(self, request_id: str, arrays: Arrays, replies: Replies) -> None:
        try:
            prompt = json_object(arrays, "prompt") or {}
            sampling = json_object(arrays, "sampling_parameters") or {}
            entry = self._journal.open(request_id, prompt, sampling)
            entry.reply = json_object(arrays, "reply")
            entry.images = [base64.b64encode(file).decode() for file in arrays.get("images", ())]
            try:
                script = read_script(prompt, sampling)
                self._check(prompt)
                await _Performance(script, entry, replies, self._cancellations).run()
            # a script that cannot be read ends here, before there is a performance
            finally:
                if entry.outcome is None:
                    entry.end("error")
        except StepError as error:
            replies.fail(error)
        except Exception as error:  # a stream that is not ended hangs its client
            replies.fail(error)

    def _check(self, prompt: Mapping[str, Any]) -> None:
        tokens = count_tokens(prompt)
        if tokens >= self._context_length and "truncate" not in prompt:
            raise ContextOverflow(
                f"the prompt has {tokens} tokens, more than the model's context length of"
                f" {self._context_length}; shorten it",
                param="messages" if "messages" in prompt else "prompt",
                limit=self._context_length,
                prompt_tokens=tokens,
                requested_tokens=1,
            )


class _Performance:
    """One request's script while it runs."""

    def __init__(
        self, script: Script, entry: Entry, replies: Replies, cancellations: Cancellations
    ) -> None:
        self._script = script
        self._entry = entry
        self._replies = replies
        self._cancellations = cancellations
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        if not self._cancellations.start(self._entry.id, self._stopped.set):
            self._stopped.set()
        try:
            finished = await self._play()
        finally:
            self._cancellations.end(self._entry.id, self._stopped.set)
        if finished:
            self._replies.end()
            self._entry.end(self._script.finish_reason)
        else:
            self._abort()

    async def _play(self) -> bool:
        """Sends the events; returns False if the request was cancelled before the last one."""
        script, entry = self._script, self._entry
        batch: list[dict[str, Any]] = []
        pause_ms = script.first_delay_ms
        sent_prompt = bool((entry.reply or {}).get("prompt_token_ids"))
        for event in events(script, entry.prompt, entry.sampling_parameters):
            if sent_prompt:
                event["prompt_token_ids"] = list(range(count_tokens(entry.prompt)))
                sent_prompt = False
            if event["index"] == 0:
                self._fail_if_due()
                if await self._pause(pause_ms):
                    return False
                pause_ms = script.delay_ms
                entry.chunks_sent += 1
            batch.append(event)
            if len(batch) >= script.events_per_response:
                self._replies.send_events(batch, final=self._is_last(event))
                batch = []
        self._fail_if_due()
        if batch:
            self._replies.send_events(batch, final=self._is_last(batch[-1]))
        return not (script.never_finish and await self._pause(float("inf")))

    def _is_last(self, event: Mapping[str, Any]) -> bool:
        # completions are interleaved, so the last one of them ends last
        last_index = int(self._entry.sampling_parameters.get("n") or 1) - 1
        finished = event["finish_reason"] is not None and event["index"] == last_index
        # a failure after the last chunk still has to be sent, and nothing follows a final response
        return finished and self._script.fail_after is None

    async def _pause(self, pause_ms: float) -> bool:
        """Waits, unless cancelled; returns whether the request was cancelled."""
        loop = asyncio.get_running_loop()
        end = loop.time() + pause_ms / 1000
        # also without a pause: a cancel that is already posted must run first
        await asyncio.sleep(0)
        while not self._stopped.is_set() and (left := end - loop.time()) > 0:
            try:
                await asyncio.wait_for(self._stopped.wait(), min(left, _WATCH_INTERVAL_S))
            except TimeoutError:
                if self._replies.is_cancelled():
                    self._stopped.set()
        return self._stopped.is_set()

    def _abort(self) -> None:
        self._entry.cancelled_s = asyncio.get_running_loop().time()
        prompt_tokens = count_tokens(self._entry.prompt)
        indexes = range(int(self._entry.sampling_parameters.get("n") or 1))
        sent = self._entry.chunks_sent
        self._replies.send_events(
            [abort_event(index, prompt_tokens, sent) for index in indexes], final=True
        )
        self._entry.end("abort")

    def _fail_if_due(self) -> None:
        script = self._script
        if script.fail_after is None or self._entry.chunks_sent < script.fail_after:
            return
        if script.crash:
            os.kill(os.getpid(), signal.SIGKILL)
        if script.error is None:
            raise RuntimeError("scripted failure")
        failure = StepError(
            str(script.error.get("message", "scripted failure")),
            code=str(script.error.get("code", "backend_error")),
            param=script.error.get("param"),
        )
        # the class decides the status elsewhere; a script may choose any
        failure.status = int(script.error.get("status", 500))
        raise failure
