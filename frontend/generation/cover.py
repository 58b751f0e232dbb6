"""Reserves the tokens of a request before it runs, and limits its answer to them.

The bytes of a prompt are an upper bound of its tokens, which suffices if the caller has plenty
left; otherwise the model counts them first. An answer beyond the budget is cut to what is left,
with a warning.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from frontend.accounts.holds import Hold
from frontend.accounts.ledger import Ledger, owner_of
from frontend.accounts.quotas import Grant, Need, Tight
from frontend.accounts.refusals import subject_of
from frontend.domain.generation import Conversation, Generation, TokenIds
from frontend.domain.metering import UsageRow
from frontend.domain.models import Model
from frontend.domain.request import Request
from frontend.errors import GatewayError
from frontend.generation import sizes
from frontend.telemetry.runs import Runs

_TEMPLATE = 1024  # tokens that a chat template and its tools' instructions add at most
_PER_MESSAGE = 64
_UNKNOWN_CONTEXT = 4096
_SPECIAL = 8  # tokens around each text that is embedded

Count = Callable[[Generation], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Cover:
    """One request's end of the ledger."""

    ledger: Ledger
    request: Request
    hold: Hold
    runs: Runs

    @property
    def is_needed(self) -> bool:
        """Whether the caller has, or may have, any limit."""
        return not self.ledger.is_unlimited(self.hold.row.owner)

    async def generations(
        self, model: Model, generations: Sequence[Generation], count: Count
    ) -> list[Generation]:
        """The generations, limited to what was reserved. Raises RateLimited if a limit has too
        little left, and StoreUnavailable while the database cannot be reached."""
        if not self.is_needed:
            return [*generations]
        bounds = [most_prompt_tokens(model, one) for one in generations]
        exact = [isinstance(one.prompt, TokenIds) for one in generations]
        need = self._need(model, generations, bounds, estimated=not all(exact))
        answer = await self._reserve(need)
        if isinstance(answer, Tight):
            bounds = [await count(one) for one in generations]
            need = self._need(model, generations, bounds, estimated=False)
            answer = await self._reserve(need)
            # only an estimate can be answered with Tight
            assert isinstance(answer, Grant)
        if answer.output >= need.output:
            return [*generations]
        return self._lowered(generations, answer)

    async def tokens(self, most: int, least: int | None = None) -> None:
        """For what generates no text: at most `most` tokens. Raises as `generations` does.

        With `least`, a budget that has fewer than `most` left may be enough: the model counts as it
        works, and `check` follows.
        """
        if self.is_needed:
            least = most if least is None else min(least, most)
            answer = await self._reserve(Need(least, most - least, requests=self._requests))
            if isinstance(answer, Grant) and answer.lowered_by is not None:
                self.hold.lowered = answer.lowered_by, least + answer.output

    def check(self, used: int) -> None:
        """Raises QuotaExceeded if a budget did not have what was used; then nothing is charged."""
        if self.hold.lowered is not None and used > self.hold.lowered[1]:
            self.hold.started = False
            raise self.ledger.refuse(self.hold, used)

    def progress(self, tokens: int) -> bool:
        """Counts tokens; whether the counts are to be written down now."""
        self.hold.produced += tokens
        return bool(self.hold.parts) and self.ledger.is_due(self.hold)

    @property
    def _requests(self) -> int:
        return 0 if self.hold.is_counted else 1

    async def _reserve(self, need: Need) -> Grant | Tight:
        try:
            answer = await self.ledger.reserve(self.hold, need)
        except GatewayError as error:
            self.runs.reserved(error.code or error.type)
            raise
        finally:
            # after a refusal as well: the 429 shows what is left
            self.request.outcome.rates = self.ledger.remaining.rates(self.hold.row.owner)
        if isinstance(answer, Grant):
            result = "granted" if answer.output >= need.output else "lowered"
            self.runs.reserved(result, first=not self.hold.is_counted)
            self.hold.is_counted = True
        return answer

    def _need(
        self,
        model: Model,
        generations: Sequence[Generation],
        prompts: Sequence[int],
        *,
        estimated: bool,
    ) -> Need:
        outputs = [
            # an estimate of the prompt is too high, so it must not make the room too small
            one.sampling.choices * _most_output(model, one, 0 if estimated else prompt)
            for one, prompt in zip(generations, prompts, strict=True)
        ]
        least = sum(
            min(one.sampling.choices, output)
            for one, output in zip(generations, outputs, strict=True)
        )
        return Need(sum(prompts), sum(outputs), least, self._requests, estimated)

    def _lowered(self, generations: Sequence[Generation], grant: Grant) -> list[Generation]:
        each = grant.output // max(sum(one.sampling.choices for one in generations), 1)
        outcome = self.request.outcome
        name = outcome.names.get("max_tokens", "max_tokens")
        left = "" if grant.lowered_by is None else f" of {subject_of(grant.lowered_by)}"
        outcome.warnings.append(
            f"{name}: lowered to {each}, because the budget{left} does not have more left"
        )
        return [_cut(one, each) for one in generations]


def new_hold(request: Request, now_us: int) -> Hold:
    """Of a request that has reserved nothing yet."""
    row = UsageRow(
        request.id,
        owner_of(request.caller),
        "",
        request.dialect.value,
        request.outcome.path,
        "triton",
        now_us,
    )
    # a minute more than the request has: what still stands then was left behind
    return Hold(row, now_us + int((request.left_s + 60) * 1e6))


def most_prompt_tokens(model: Model, generation: Generation) -> int:
    """A bound for the tokens of a prompt, as no token stands for less than a byte of text."""
    prompt, context = generation.prompt, model.context_length
    if isinstance(prompt, TokenIds):
        return len(prompt.ids)
    most = sizes.bytes_of(generation) + _TEMPLATE
    if isinstance(prompt, Conversation):
        most += _PER_MESSAGE * len(prompt.messages) + len(prompt.prefix)
    if generation.images:
        # only the engine knows how many tokens an image becomes
        most = max(most, context or _UNKNOWN_CONTEXT)
    return most if context is None else min(most, context)


def most_text_tokens(texts: Iterable[str], context: int | None, ids: int = 0) -> int:
    """A bound for the tokens of texts that are embedded or ranked; `ids` are tokens already."""
    bounds = [sizes.size_of([text]) + _SPECIAL for text in texts]
    if context is not None:
        bounds = [min(bound, context) for bound in bounds]
    return sum(bounds) + ids


def _most_output(model: Model, generation: Generation, prompt: int) -> int:
    most = generation.sampling.max_tokens
    if model.context_length is None:
        return _UNKNOWN_CONTEXT if most is None else most
    room = max(model.context_length - prompt, 1)
    return room if most is None else min(most, room)


def _cut(generation: Generation, most: int) -> Generation:
    sampling = generation.sampling
    most = most if sampling.max_tokens is None else min(most, sampling.max_tokens)
    least = None if sampling.min_tokens is None else min(sampling.min_tokens, most)
    return replace(generation, sampling=replace(sampling, max_tokens=most, min_tokens=least))
