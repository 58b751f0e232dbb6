"""The one path of every request to a model: authorize → reserve → schedule → infer → settle.

`Path.open` authorizes and yields a `Run`; what the run does is reserved, scheduled, inferred and
counted, and `settle` follows in one `finally`, whichever way the request ends. It does not depend
on dialects or HTTP, and knows upstreams only by their protocol.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import asdict, dataclass, field

from frontend.accounts.ledger import Ledger
from frontend.accounts.scopes import require_model
from frontend.cache.answers import AnswerCache
from frontend.domain.models import Model
from frontend.domain.request import Request
from frontend.domain.usage import UsageCount
from frontend.errors import GatewayError
from frontend.generation.charge import Charge, Expected, Tariff
from frontend.generation.cover import Cover, new_hold
from frontend.generation.policy import Policy, require_capability
from frontend.generation.run import Run
from frontend.generation.shares import UNCOUNTED, Rule, Shares
from frontend.generation.speeds import Speeds
from frontend.generation.structure import Structures
from frontend.generation.together import Together
from frontend.media.images import Images
from frontend.scheduling.queue import Queue
from frontend.scheduling.shared import Exchange
from frontend.telemetry.runs import Runs
from frontend.upstreams.fleet import Fleet
from frontend.upstreams.need import NOTHING, Need
from frontend.upstreams.placement import Place, Places
from frontend.upstreams.protocol import Call

CLIENT_GONE = 499
"""What usage says about a request whose client went away, as nginx does."""


@dataclass(slots=True)
class Path:
    """The path to the upstreams."""

    fleet: Fleet
    queue: Queue
    structures: Structures
    images: Images
    policy: Policy = field(default_factory=Policy)
    speeds: Speeds = field(default_factory=Speeds)
    tariff: Tariff = field(default_factory=Tariff)
    exchange: Exchange | None = None
    ledger: Ledger | None = None
    cache: AnswerCache | None = None
    together: Together = field(default_factory=Together)
    salts: str = "shared"
    """Who shares cached prefixes of prompts in the engines."""
    runs: Runs = field(default_factory=Runs)
    places: Places = field(init=False)
    shares: Shares = field(init=False)

    def __post_init__(self) -> None:
        self.places = Places(self.fleet)
        self.shares = Shares(self.places, self.runs)
        self.queue.room = self.places.room
        self.places.freed.append(self.queue.wake)

    @asynccontextmanager
    async def open(
        self, request: Request, name: str, capability: str | None = None
    ) -> AsyncIterator[Run]:
        """A run of the model that the caller calls `name`, if it has the capability.

        Raises NotFound if the caller may use no such model, NotCapable if it lacks the capability,
        and BackendUnavailable if no upstream can serve it now.
        """
        count, cover, status = UsageCount(), self._cover(request), 200
        charge = Charge(self.queue, self.tariff, request)
        run, reason = None, None
        try:
            model, rule = await self._authorize(request, name, capability)
            if cover is not None:
                cover.hold.row.model = model.name
            run = Run(self, request, model, count, charge, cover, rule, capability)
            yield run
        except GatewayError as error:
            status, reason = error.status, error.code or error.type
            raise
        except (asyncio.CancelledError, GeneratorExit):
            status = CLIENT_GONE
            raise
        except BaseException:
            status = 500
            raise
        finally:
            if cover is not None and cover.hold.started:
                reason = None  # a failure, not a refusal
            # an error after the first byte of a stream is sent in the stream
            if status == 200 and request.outcome.error is not None:
                status = 500
            if count:
                request.outcome.usage = count.charged
                request.outcome.is_estimated = count.is_estimated
            usage = request.outcome.usage if count else None
            charge.settle(usage, gone=status == CLIENT_GONE, failed=status >= 400)
            self._settle(request, cover, status)
            self.runs.ended(request, None if run is None else run.model.name, status, reason)

    def _cover(self, request: Request) -> Cover | None:
        if (ledger := self.ledger) is None:
            return None
        return Cover(ledger, request, new_hold(request, ledger.clock()), self.runs)

    async def _authorize(
        self, request: Request, name: str, capability: str | None
    ) -> tuple[Model, Rule | None]:
        """The model, and the canary that shares its name's requests."""
        scope, rule, chosen = request.caller.scope, self.shares.find(name), None
        if rule is not None:
            group, rules = request.caller.group, request.caller.rules
            need = Need(group=group, local=self.policy.is_local(group), rules=rules)
            chosen = self.shares.choose(rule, request, request.session, need, capability)
        if rule is None or chosen is None:
            model = require_model(scope, name, await self.fleet.find(name))
        else:
            # who may use the name, or what it usually leads to, may use what shares it
            require_model(scope, name, self.fleet.own(rule.targets[0].model) or chosen)
            model, request.outcome.canary = chosen, rule.canary.name
        request.outcome.model = model.name
        if capability is not None:
            require_capability(model, name, capability)
        return model, rule

    @asynccontextmanager
    async def schedule(
        self,
        charge: Charge,
        call_id: str,
        model: Model,
        expected: Expected,
        need: Need = NOTHING,
        tried: set[str] | None = None,
    ) -> AsyncIterator[Place]:
        """Waits for a slot and for a place at an upstream, and gives both back; first for a model
        that is loaded on demand. What goes wrong is noted for the next choice.

        `tried`: the upstreams that failed the request already; the chosen one is added.
        """
        request = charge.request
        tried = set() if tried is None else tried
        capture = request.outcome.capture
        keeps_text = capture is not None and capture.keeps_text
        step = request.outcome.trace.step(
            model.name, need.operation, need.generation, keeps_text=keeps_text
        )
        with self.runs.turn(model.name, request) as turn, step:
            async with (
                self.places.loaded(model, need, tried, request.left_s) as loaded,
                charge.slot(call_id, model, expected) as job,
                self.places.hold(model, need, tried, call_id, request.left_s) as member,
            ):
                tried.add(member.name)
                self.queue.placed(job, member.name)
                own = member.registry.own(model.name) or model
                residency = member.registry.residency
                used = nullcontext() if member is loaded else residency.using(own, request.left_s)
                async with used:
                    turn.begin()
                    placing = member.placing
                    step.begin(member.name, placing.engine, external=placing.external)
                    place = Place(member, own, Call(call_id, request.call_s, step.headers), step)
                    try:
                        yield place
                    except GatewayError as error:
                        if member.failed(model.name, error, answered=place.answered):
                            self._share(request, model, need, failed=True)
                        if capture is not None:
                            capture.failed(error.upstream_text)
                        raise
                    member.succeeded(model.name)
                    self._share(request, model, need, failed=False)

    def _share(self, request: Request, model: Model, need: Need, *, failed: bool) -> None:
        if request.outcome.canary and need.operation not in UNCOUNTED:
            first_s = request.outcome.first_token_s
            self.shares.saw(request.outcome.canary, model.name, first_s, failed=failed)

    def _settle(self, request: Request, cover: Cover | None, status: int) -> None:
        """Runs once for each request, with the usage as far as it got. Waits for nothing."""
        outcome = request.outcome
        outcome.ended = status
        if cover is None:
            return
        row = cover.hold.row
        row.status = status
        row.usage = outcome.usage or row.usage
        row.estimated |= outcome.is_estimated
        row.duration_us = int(outcome.elapsed_ms * 1000)
        outcome.ran, outcome.upstream = cover.hold.started, row.upstream
        outcome.images = row.images
        outcome.credits = cover.hold.cost if cover.hold.started else 0
        if self.exchange is not None:
            self.exchange.own(row.request_id)
        cover.ledger.settle(cover.hold)
        self.runs.settled(cover.hold.is_counted, cover.hold.started)

    @property
    def draining(self) -> bool:
        """Whether new requests are refused."""
        return self.queue.draining

    @property
    def idle(self) -> bool:
        """Whether no request runs or waits."""
        return self.queue.idle

    @property
    def activity(self) -> dict[str, dict[str, float | None]]:
        """What each loaded model does now."""
        return {
            model.name: {
                "running": self.fleet.running(model),
                "expires_s": self.fleet.expires_s(model),
                **asdict(self.speeds.of(model.name)),
            }
            for model in self.fleet.loaded
        }

    def drain(self) -> None:
        """Refuses new requests from now on."""
        self.queue.drain()

    def abandon(self) -> None:
        """Ends what waits or runs with an error that says why: its time to finish has passed."""
        self.drain()
        self.queue.refuse_waiting()
        self.fleet.abandon()
