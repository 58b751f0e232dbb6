"""The cost of one request in the scheduler: an estimate for each call, and the actual cost.

The estimate is charged when a call gets its slot. It is corrected once, however the request ends.
"""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial

from frontend.domain.generation import Generation, TokenIds
from frontend.domain.identity import ANONYMOUS
from frontend.domain.models import Model
from frontend.domain.request import Request
from frontend.domain.usage import Usage
from frontend.generation import sizes
from frontend.scheduling.cost import BYTES_PER_TOKEN, CostWeights, Outputs
from frontend.scheduling.jobs import Job
from frontend.scheduling.queue import Queue


@dataclass(frozen=True, slots=True)
class Expected:
    """Tokens and bytes that a call is expected to have, before anything was counted."""

    prompt: float = 0.0
    output: float = 0.0
    size_bytes: int = 0
    answers: int = 0
    """Of a generation, whose length is known from earlier ones."""
    most: int | None = None
    """Tokens of each answer at most."""


@dataclass(slots=True)
class Tariff:
    """How requests are charged, and how long the answers of each user and model are."""

    weights: CostWeights = field(default_factory=CostWeights)
    outputs: Outputs = field(default_factory=Outputs)
    image_tokens: int = 1000
    """Of an image in a prompt, until the engine has counted them."""

    def estimate(self, user: str, model: str, expected: Expected) -> int:
        """The cost of a call, by what is known now of the user's answers."""
        output = expected.output
        if expected.answers:
            output += self.outputs.expected(user, model, expected.most) * expected.answers
        return self.weights.estimate(expected.prompt, output)


@dataclass(slots=True)
class Charge:
    """One request's end of the queue."""

    queue: Queue
    tariff: Tariff
    request: Request
    _jobs: list[Job] = field(default_factory=list)
    _prompts: float = 0.0
    _answers: int = 0

    def slot(
        self, call_id: str, model: Model, expected: Expected
    ) -> AbstractAsyncContextManager[Job]:
        """Waits for a slot of one call, and gives it back. Raises as `Queue.slot` does."""
        request, caller = self.request, self.request.caller
        # not of this object, which has the job: a request must be freed as soon as it has ended
        estimate = partial(self.tariff.estimate, caller.user, model.name, expected)
        job = Job(
            call_id,
            caller.user,
            model.name,
            estimate(),
            caller.role.weight,
            caller.group,
            caller.group_weight,
            caller.key,
            background=request.background_s is not None,
            size_bytes=expected.size_bytes,
            estimate=estimate if expected.answers else None,
            # without a key all callers are one, and a request that has begun continues
            bounded=caller is not ANONYMOUS and not self._jobs,
        )
        self._jobs.append(job)
        self._prompts += expected.prompt
        self._answers += expected.answers
        return self.queue.slot(job, request.left_s, waits=partial(self._waits, job))

    def settle(self, usage: Usage | None, *, gone: bool, failed: bool) -> None:
        """Corrects the estimates by the usage. `gone`: the client left; `failed`: no answer."""
        jobs = [job for job in self._jobs if job.decision is not None]
        if not jobs:
            return
        if usage is not None:
            actual = self.tariff.weights.of(usage)
            if self._answers and not (gone or failed):
                tokens = usage.completion_tokens // self._answers
                self.tariff.outputs.add(self.request.user, jobs[0].resource, tokens)
        else:
            # the prompt of a client that leaves before the first token was computed
            actual = self.tariff.weights.estimate(self._prompts) if gone else 0
        if len(jobs) == 1:
            self.queue.settle(jobs[0], actual)
            return
        whole = sum(job.cost for job in jobs)
        for job in jobs[1:]:
            part = actual * job.cost // whole
            self.queue.settle(job, part)
            actual, whole = actual - part, whole - job.cost
        self.queue.settle(jobs[0], actual)

    def generation(self, model: Model, generation: Generation) -> Expected:
        """What a generation is expected to use."""
        sampling, prompt = generation.sampling, generation.prompt
        size = sizes.bytes_of(generation)
        tokens = len(prompt.ids) if isinstance(prompt, TokenIds) else size / BYTES_PER_TOKEN
        tokens += self.tariff.image_tokens * len(generation.images)
        if model.context_length is not None:
            tokens = min(tokens, model.context_length)
        size += sum(map(len, generation.images))
        return Expected(tokens, size_bytes=size, answers=sampling.choices, most=sampling.max_tokens)

    def _waits(self, job: Job) -> None:
        outcome = self.request.outcome
        outcome.place = partial(self.queue.place, job)
        place = outcome.place()
        if place is not None and outcome.queue_position is None:
            outcome.queue_position = place.position


def expected_texts(texts: Iterable[str], ids: int = 0) -> Expected:
    """Of texts that are embedded or ranked; `ids` are tokens already."""
    size = sizes.size_of(texts)
    return Expected(size / BYTES_PER_TOKEN + ids, size_bytes=size)
