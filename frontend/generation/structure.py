"""Checks the JSON schemas of requests before anything runs, and finished answers against them.

The engine's grammar enforces a part of a schema; the rest is checked here, so that a client that
asked for a structure never gets anything else with `finish_reason: stop`. Both run in worker
processes with a deadline, since callers are not trusted. An answer that was cut (`length`) is not
checked, and one that calls tools has no content to check.
"""

import asyncio
import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson

from frontend.domain.events import Event, Events
from frontend.domain.generation import Conversation, Generation
from frontend.domain.messages import Message
from frontend.domain.structure import Expected, SchemaUse, Validation
from frontend.domain.tools import Function
from frontend.errors import GatewayError
from frontend.generation.answers import Answer, InvalidAnswer
from frontend.schemas.check import Checker, find_errors
from frontend.schemas.keywords import refusal
from frontend.schemas.limits import Limits
from frontend.schemas.plan import Plan, make_plans
from frontend.workers import WorkerDied, Workers, WorkerTimeout

Attempt = Callable[[Generation, str], Events]
_KEPT_BYTES = 4 * 2**20
_SHOWN = 5


class Structures:
    """Plans schemas and checks answers. Plans are cached."""

    def __init__(self, workers: Workers, limits: Limits, retries: int) -> None:
        self._workers = workers
        self._limits = limits
        self._retries = retries
        self._plans: OrderedDict[bytes, Plan] = OrderedDict()
        self._kept_bytes = 0

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Runs the processes for the block; they start before the first request if possible."""
        # the first schema need not wait for a process to start
        warming = asyncio.create_task(self._warm())
        try:
            yield
        finally:
            warming.cancel()
            await asyncio.gather(warming, return_exceptions=True)
            await self._workers.close()

    async def _warm(self) -> None:
        with contextlib.suppress(GatewayError, WorkerTimeout, WorkerDied):
            await self._workers.call(make_plans, [], self._limits, caller="")

    async def prepare(
        self, generation: Generation, caller: str, warnings: list[str], *, whole: bool
    ) -> Generation:
        """The generation with its schemas converted for the engine.

        `whole`: the answer is not streamed, so that it may be generated again. Raises
        InvalidRequest naming the field of a schema that cannot be used.
        """
        uses = generation.schemas
        if not uses:
            return generation
        plans = await self._plan(uses, caller)
        expected = tuple(
            Expected(use, plan.checker.source, plan.checker.draft)
            for use, plan in zip(uses, plans, strict=True)
        )
        for use, plan in zip(uses, plans, strict=True):
            warnings += [one for one in _warnings(use, plan) if one not in warnings]
        # with several choices the others would be generated again, too
        retries = self._retries if whole and generation.sampling.choices == 1 else 0
        validation = Validation(expected, caller, retries, warnings)
        return replace(_with_grammars(generation, plans), schemas=(), validation=validation)

    def checked(self, attempt: Attempt, generation: Generation, call_id: str) -> Events:
        """The events of `attempt`; InvalidAnswer is raised for an answer that does not match."""
        validation = generation.validation
        if validation is None:
            return attempt(generation, call_id)
        if validation.retries:
            return self._repeated(attempt, generation, call_id)
        return self._checked(attempt(generation, call_id), validation)

    async def _repeated(self, attempt: Attempt, generation: Generation, call_id: str) -> Events:
        """Generates again, with the error in the prompt, as often as the operator allows."""
        validation = generation.validation
        assert validation is not None
        for number in range(validation.retries + 1):
            groups: list[list[Event]] = []
            failure: InvalidAnswer | None = None
            name = f"{call_id}-again{number}" if number else call_id
            try:
                async for group in self._checked(attempt(generation, name), validation):
                    groups.append(group)
            except InvalidAnswer as error:
                failure = error
            # in a stream nothing can be taken back, and only conversations can hold the error
            talk = generation.prompt
            if (
                failure is None
                or number == validation.retries
                or not isinstance(talk, Conversation)
            ):
                break
            generation = replace(generation, prompt=_asked_again(talk, failure))
        for group in groups:
            yield group
        if failure is not None:
            raise failure

    async def _checked(self, groups: Events, validation: Validation) -> Events:
        answers: dict[int, Answer] = {}
        async with aclosing(groups):
            async for group in groups:
                for number, event in enumerate(group):
                    answer = answers.setdefault(event.index, Answer())
                    answer.add(event)
                    if event.finish_reason not in ("stop", "tool_calls"):
                        continue
                    if (failure := await self._judge(answer, validation)) is not None:
                        # what came before its end is sent, without a reason that would say that the
                        # answer is valid
                        yield [*group[:number], replace(event, finish_reason=None)]
                        raise failure
                yield group

    async def _judge(self, answer: Answer, validation: Validation) -> InvalidAnswer | None:
        """The error for an answer that breaks a strict schema; otherwise the client is warned."""
        jobs = answer.jobs(validation.expected)
        if not jobs:
            return None
        work = [(Checker(one.source, one.draft), text) for one, text in jobs]
        try:
            problems = await self._workers.call(find_errors, work, caller=validation.caller)
        # a check that did not finish is not a match
        except (WorkerTimeout, WorkerDied) as error:
            problems = [f"it could not be checked: {error}"] * len(jobs)
        for (expected, text), problem in zip(jobs, problems, strict=True):
            if problem is None:
                continue
            failure = InvalidAnswer(expected.use, text, problem)
            if expected.use.strict:
                return failure
            validation.warnings.append(failure.message)
        return None

    async def _plan(self, uses: tuple[SchemaUse, ...], caller: str) -> list[Plan]:
        sources = self._read(uses)
        keys = [_key(use, source) for use, source in zip(uses, sources, strict=True)]
        missing: dict[bytes, tuple[bytes, str, bool]] = {}
        for key, use, source in zip(keys, uses, sources, strict=True):
            if key not in self._plans:
                missing[key] = (source, use.path, use.strict)
        plans = {key: self._plans[key] for key in keys if key in self._plans}
        for key in plans:
            self._plans.move_to_end(key)
        if missing:
            added = await self._make(list(missing.values()), caller)
            plans |= zip(missing, added, strict=True)
            self._keep(zip(missing, added, strict=True))
        return [plans[key] for key in keys]

    async def _make(self, missing: list[tuple[bytes, str, bool]], caller: str) -> list[Plan]:
        try:
            return await self._workers.call(make_plans, missing, self._limits, caller=caller)
        except (WorkerTimeout, WorkerDied) as error:
            # the largest one is the likeliest reason
            _, path, _ = max(missing, key=lambda one: len(one[0]))
            problem = f"is too complex to check: {error}; simplify it"
            raise refusal(path, problem, "schema_too_complex") from None

    def _read(self, uses: tuple[SchemaUse, ...]) -> list[bytes]:
        """The schemas as JSON. Raises InvalidRequest when they are too large."""
        sources, total = [], 0
        for use in uses:
            source = orjson.dumps(use.schema)
            total += len(source)
            if len(source) > self._limits.size_bytes:
                most = self._limits.size_bytes
                raise refusal(use.path, f"has {len(source)} bytes; at most {most} are allowed")
            if total > self._limits.total_bytes:
                most = self._limits.total_bytes
                raise refusal(
                    use.path,
                    f"makes the schemas too large together: at most {most} bytes are allowed",
                )
            sources.append(source)
        return sources

    def _keep(self, plans: Iterable[tuple[bytes, Plan]]) -> None:
        for key, plan in plans:
            # another request may have added the same schema meanwhile
            if (old := self._plans.pop(key, None)) is not None:
                self._kept_bytes -= old.size_bytes
            self._plans[key] = plan
            self._kept_bytes += plan.size_bytes
        while self._kept_bytes > _KEPT_BYTES:
            self._kept_bytes -= self._plans.popitem(last=False)[1].size_bytes


def _key(use: SchemaUse, source: bytes) -> bytes:
    """Everything that a plan depends on."""
    return hashlib.sha256(b"%d %b\0%b" % (use.strict, use.path.encode(), source)).digest()


def _with_grammars(generation: Generation, plans: list[Plan]) -> Generation:
    """The generation with the part of each schema that the engine's grammar enforces."""
    structure, tools = generation.structure, generation.tools
    parameters: dict[str, Any] = {}
    for use, plan in zip(generation.schemas, plans, strict=True):
        if use.tool is not None and use.enforced:
            parameters[use.tool] = orjson.loads(plan.grammar)
        elif use.tool is None and structure is not None and structure.kind == "json":
            structure = replace(structure, value=orjson.loads(plan.grammar))
    if parameters and tools is not None:
        allowed = tuple(_with_parameters(one, parameters) for one in tools.allowed)
        tools = replace(tools, allowed=allowed)
    return replace(generation, structure=structure, tools=tools)


def _with_parameters(function: Function, grammars: dict[str, Any]) -> Function:
    return replace(function, parameters=grammars.get(function.name, function.parameters))


def _warnings(use: SchemaUse, plan: Plan) -> list[str]:
    """Warnings that the client gets before the answer."""
    warnings = []
    if plan.left_out and use.enforced:
        warnings.append(f"checked in the finished answer only: {_listed(plan.left_out)}")
    if plan.unchecked:
        warnings.append(f"ignored, because it cannot be checked: {_listed(plan.unchecked)}")
    return warnings


def _listed(paths: tuple[str, ...]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more


def _asked_again(talk: Conversation, failure: InvalidAnswer) -> Conversation:
    """The conversation with the answer and its error."""
    more = (
        Message("assistant", failure.text),
        Message("user", f"This is not valid: {failure.problem}. Answer again."),
    )
    return replace(talk, messages=(*talk.messages, *more))
