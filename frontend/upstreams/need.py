"""What a request needs of an upstream, and which upstreams may have it."""

from dataclasses import dataclass

from frontend.domain.generation import Generation
from frontend.domain.labels import Rules, is_allowed, labels_of, show_rules
from frontend.domain.models import Input, Model
from frontend.errors import Forbidden
from frontend.upstreams.member import Member


@dataclass(frozen=True, slots=True)
class Need:
    """What a request needs of an upstream.

    `group`: the id of the caller's group. `local`: its prompts must not leave the site. `rules`:
    the labels that an upstream must have for it. `session`: what it belongs to; requests of one
    session stay at one upstream if they can.
    `tokens`: about how many its prompt and answer have. `operation`: what traces call it.
    """

    accepts: frozenset[Input] = frozenset()
    generation: Generation | None = None
    tokens: int = 0
    group: str = ""
    local: bool = False
    operation: str = "load"
    session: str = ""
    rules: Rules = ()


NOTHING = Need()
"""Of a request that every upstream with the model can serve."""


def may_use(member: Member, need: Need) -> bool:
    """Whether the upstream accepts the caller's group, and the group's policy the upstream."""
    groups = member.placing.groups
    return _may_get(member, need) and (not groups or need.group in groups)


def _may_get(member: Member, need: Need) -> bool:
    """Whether the policy of the caller's group lets its prompts be sent there."""
    placing = member.placing
    if placing.external and need.local:
        return False
    return not need.rules or is_allowed(
        need.rules, labels_of(placing.labels, external=placing.external)
    )


def forbidden(model: str, held: list[Member], need: Need) -> Forbidden:
    """Why no upstream that has the model may have the request."""
    allowed = [one for one in held if _may_get(one, need)]
    if allowed:
        return Forbidden(f"your group may not use the model '{model}'")
    if need.local and all(one.placing.external for one in held):
        text = "is served outside this site, where requests of your group may not be sent"
    else:
        text = (
            "is not served by any upstream that the policy of your group allows"
            f" ({show_rules(need.rules)})"
        )
    return Forbidden(f"the model '{model}' {text}", code="upstream_policy")


def with_context(held: list[tuple[Member, Model]], tokens: int) -> list[tuple[Member, Model]]:
    """Those whose context has room for this many tokens, or whose context nobody knows."""
    lengths = ((pair, pair[1].context_length) for pair in held)
    return [pair for pair, length in lengths if length is None or length >= tokens]
