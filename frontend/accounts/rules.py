"""Selects the limits of a caller from stored quotas, plans and the default budget. Pure.

Of several quotas for the same measure, the largest applies, so a temporary increase is an
additional row that expires. A stored quota overrides the one of a plan, and that one overrides the
default.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from frontend.accounts.limits import Key, Limit, Measure, Scope
from frontend.accounts.windows import parse_window
from frontend.domain.metering import Owner
from frontend.store.ledger.counters import QuotaRow
from frontend.store.ledger.credits import PlanRow, SubscriptionRow

_MONTH = parse_window("month")


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits of one caller, and whose credits its requests are paid with.

    `shared`: those that are counted in Redis, where there is one.
    """

    limits: tuple[Limit, ...] = ()
    payer: tuple[str, str] | None = None
    shared: tuple[Limit, ...] = ()

    @property
    def is_unlimited(self) -> bool:
        """Whether there is nothing to reserve."""
        return not (self.limits or self.shared) and self.payer is None

    def for_model(self, model: str) -> tuple[Limit, ...]:
        """Those in the database that count for requests to a model."""
        return tuple(limit for limit in self.limits if limit.model in ("", model))

    def shared_for(self, model: str) -> tuple[Limit, ...]:
        """Those in Redis."""
        return tuple(limit for limit in self.shared if limit.model in ("", model))

    def divided(self) -> "Rules":
        """The same, with what ends soon in Redis."""
        brief = tuple(limit for limit in self.limits if limit.is_brief)
        rest = tuple(limit for limit in self.limits if not limit.is_brief)
        return Rules(rest, self.payer, brief)


_SCOPES = tuple(Scope)


def scopes_of(owner: Owner) -> list[tuple[Scope, str]]:
    """From the widest to the narrowest."""
    pairs = zip(_SCOPES, (owner.organisation, owner.group, owner.user, owner.key), strict=True)
    return [(scope, subject) for scope, subject in pairs if subject]


def rules_of(
    owner: Owner,
    quotas: Iterable[QuotaRow],
    subscriptions: Mapping[tuple[str, str], SubscriptionRow],
    default_tokens: int,
    now_us: int,
) -> Rules:
    """The rules that count now. The caller's own subscription comes before that of its group."""
    scopes = scopes_of(owner)
    limits: dict[Key, Limit] = {}
    for row in quotas:
        if row.expires_at_us is None or row.expires_at_us > now_us:
            _add(limits, scopes, row)
    payer = next((one for one in reversed(scopes) if one in subscriptions), None)
    if payer is not None:
        for measure, window, amount in _plan_of(subscriptions[payer], now_us).quotas:
            row = QuotaRow(*payer, "", measure, window, amount, None)
            # a quota of its own replaces the plan's, also when it is smaller
            if (payer[0], payer[1], "", measure, window) not in limits:
                _add(limits, scopes, row)
    # callers of a key file do not have an organisation, and so no default budget
    if default_tokens and payer is None and owner.organisation and not _has_budget(limits):
        _add(
            limits,
            scopes,
            QuotaRow("user", owner.user, "", "tokens", "month", default_tokens, None),
        )
    ordered = sorted(limits.values(), key=lambda one: (_SCOPES.index(one.scope), one.key))
    return Rules(tuple(ordered), payer)


def _add(limits: dict[Key, Limit], scopes: list[tuple[Scope, str]], row: QuotaRow) -> None:
    scope = next((one for one in scopes if one == (row.scope_kind, row.scope_id)), None)
    if scope is None:  # another kind of subject with the same id
        return
    measure, window = Measure(row.measure), parse_window(row.period)
    limit = Limit(*scope, measure, window, row.amount, row.model)
    if limit.key not in limits or limits[limit.key].amount < limit.amount:
        limits[limit.key] = limit


def _plan_of(row: SubscriptionRow, now_us: int) -> PlanRow:
    """The plan in effect, also before the transaction that begins the new period."""
    has_ended = _MONTH.start(now_us) > row.period_starts_at_us
    return row.next_plan if has_ended and row.next_plan is not None else row.plan


def _has_budget(limits: Mapping[Key, Limit]) -> bool:
    return any(
        one.scope is Scope.USER and one.is_budget and not one.model for one in limits.values()
    )
