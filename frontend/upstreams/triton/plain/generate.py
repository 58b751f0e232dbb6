"""Generations of models of other builders: the prompt is rendered here, then streamed.

Closing the stream cancels the request, which NVIDIA's backends watch for; the ensemble of
TensorRT-LLM also gets its own stop request.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tritonclient.grpc import service_pb2

from frontend.domain.events import Events
from frontend.domain.generation import Conversation, Generation, Passage, Tokenized
from frontend.domain.sampling import Sampling
from frontend.domain.tools import Function
from frontend.errors import InvalidRequest, NotCapable
from frontend.upstreams.protocol import Call
from frontend.upstreams.remote import unsupported
from frontend.upstreams.triton.connection import Connection, Reader
from frontend.upstreams.triton.failures import from_message
from frontend.upstreams.triton.plain.answers import Reading
from frontend.upstreams.triton.plain.calls import CallReading, force_calls, may_call
from frontend.upstreams.triton.plain.configs import Plain
from frontend.upstreams.triton.plain.requests import check, write_request
from frontend.upstreams.triton.plain.templates import ChatTemplate
from frontend.upstreams.triton.plain.tokens import ESTIMATE, Tokens
from frontend.upstreams.triton.tensors import add_numbers, add_texts, output

_ANSWER = 1024
"""Tokens of an answer where neither the caller nor a context length bounds it."""
_LONG = 20_000
"""Characters from which a text is worked on in a thread."""


@dataclass(frozen=True, slots=True)
class Writer:
    """One model by its name in Triton. `leave` ends a stream that is not read to its end."""

    name: str
    plain: Plain
    context_length: int | None = None
    template: ChatTemplate | None = None
    tokens: Tokens = ESTIMATE

    async def generate(
        self,
        connection: Connection,
        generation: Generation,
        call: Call,
        leave: Callable[[Reader, service_pb2.ModelInferRequest | None], None],
    ) -> Events:
        """The events of one generation. Raises GatewayError if Triton refuses or fails."""
        check(self.plain, generation)
        text = await self._prompt(generation)
        generation = force_calls(generation, self.plain.family.value)
        calls = CallReading(generation.tools) if may_call(generation) and generation.tools else None
        counted = 0
        if "num_input_tokens" not in self.plain.outputs:
            counted = await self._count(connection, text, call)
        most = self._most(generation, counted or self.tokens.count(text[:_LONG]))
        request = write_request(self.name, self.plain, generation, text, most)
        request.id = call.id
        stops = generation.sampling.stop or ()
        count = self._count_answer
        reading = Reading(self.plain, stops, most, counted, count)
        reading.estimated = self.plain.counter is None and not self.tokens.exact
        reader, ended = connection.stream(request, call.timeout_s, call.headers), False
        try:
            with connection.running(reader.call, call.id, self.name):
                while (response := await reader.read()) is not None:
                    if response.error_message:
                        ended = True
                        await reader.read_out()
                        raise from_message(response.error_message, call.id)
                    if (event := reading.read(response.infer_response)) is not None:
                        yield [event if calls is None else calls.read(event)]
                    if reading.ended:
                        # the engine stops by itself; see `Reader` why it is not cancelled
                        await reader.read_out()
                        break
                ended = True
            if (last := reading.finish()) is not None:
                yield [last if calls is None else calls.read(last)]
        finally:
            if not ended:
                leave(reader, self._stop_request(call.id))

    async def count(self, connection: Connection, generation: Generation, call: Call) -> int:
        """Tokens of a prompt. Raises GatewayError if Triton refuses or fails."""
        text = await self._prompt(generation)
        return await self._count(connection, text, call)

    async def tokenize(self, generation: Generation, *, strings: bool) -> Tokenized:
        """The tokens of a prompt. Raises InvalidRequest for a model without a tokenizer."""
        if not self.tokens.exact:
            raise InvalidRequest(
                f"the server of '{self.name}' does not show its tokens; the operator can declare"
                " its 'tokenizer'",
                param="model",
                code="model_not_supported",
            )
        made = await asyncio.to_thread(self.tokens.tokenizer.encode, await self._prompt(generation))
        return Tokenized(made.ids, made.tokens if strings else None)

    def _count_answer(self, text: str) -> int:
        return self.tokens.count(text, special=False)

    async def _prompt(self, generation: Generation) -> str:
        prompt = generation.prompt
        if isinstance(prompt, Passage):
            return prompt.text
        assert isinstance(prompt, Conversation), "other prompts were refused"
        if self.template is None:
            raise NotCapable(
                f"the model '{self.name}' has no chat template; the operator can declare one with"
                " 'chat_template'",
                model=self.name,
                capability="chat",
            )
        tools = None
        if generation.tools is not None:
            if not self.template.takes_tools:
                unsupported(
                    "tools", f"{self.plain.family.value}: its chat template does not show any"
                )
            tools = [_shown(one) for one in generation.tools.declared]
        size = sum(len(one.content) for one in prompt.messages)
        if size < _LONG and len(prompt.messages) < 100 and not tools:
            return self.template.render(prompt)
        return await asyncio.to_thread(self.template.render, prompt, tools)

    async def _count(self, connection: Connection, text: str, call: Call) -> int:
        """By the step that tokenizes, else the tokenizer, else the model, else an estimate."""
        if self.plain.counter is not None:
            return await self._count_there(connection, self.plain.counter, text, call)
        if not self.tokens.exact and "num_input_tokens" in self.plain.outputs:
            return await self._count_by_answer(connection, text, call)
        if len(text) < _LONG:
            return self.tokens.count(text)
        return await asyncio.to_thread(self.tokens.count, text)

    async def _count_there(self, connection: Connection, step: str, text: str, call: Call) -> int:
        request = service_pb2.ModelInferRequest(model_name=step, id=f"{call.id}-count")
        shape = [1, 1] if self.plain.batched else [1]
        add_texts(request, "QUERY", [text], shape)
        add_numbers(request, "REQUEST_OUTPUT_LEN", "INT32", [1], shape)
        length = output(await connection.infer(request, call), "REQUEST_INPUT_LEN")
        return int.from_bytes(length[:4], "little")

    async def _count_by_answer(self, connection: Connection, text: str, call: Call) -> int:
        once = Generation(Passage(text), Sampling(max_tokens=1, temperature=0.0))
        request = write_request(self.name, self.plain, once, text, 1)
        request.id = f"{call.id}-count"
        reading = Reading(self.plain, (), 1, 0, self._count_answer)
        reader = connection.stream(request, call.timeout_s, call.headers)
        with connection.running(reader.call, call.id, self.name):
            while (response := await reader.read()) is not None:
                if response.error_message:
                    await reader.read_out()
                    raise from_message(response.error_message, call.id)
                reading.read(response.infer_response)
        return reading.prompt_tokens

    def _most(self, generation: Generation, prompt: int) -> int:
        """These backends end after 16 or 32 tokens if nobody says how many there may be."""
        length = generation.context_length or self.context_length
        if length is None:
            return generation.sampling.max_tokens or _ANSWER
        room = max(1, length - prompt)
        return min(generation.sampling.max_tokens or room, room)

    def _stop_request(self, call_id: str) -> service_pb2.ModelInferRequest | None:
        if self.plain.stopper is None:
            return None
        request = service_pb2.ModelInferRequest(model_name=self.plain.stopper, id=call_id)
        for name in ("input_ids", "input_lengths", "request_output_len"):
            add_numbers(request, name, "INT32", [0], [1, 1])
        add_numbers(request, "stop", "BOOL", [True], [1, 1])
        return request


def _shown(function: Function) -> dict[str, Any]:
    """A function as templates read it, which is as OpenAI's API has it."""
    described = {} if function.description is None else {"description": function.description}
    shown = {"name": function.name, **described, "parameters": function.parameters}
    return {"type": "function", "function": shown}
