"""The scope of a key: models, endpoints, source networks. Pure.

A scope only restricts: each of its lists must match. `*` in a pattern stands for any text. It is
the only wildcard, so a pattern that matches the text of another pattern covers that pattern.
"""

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

from frontend.domain.identity import UNLIMITED, Network, Scope
from frontend.domain.models import Model
from frontend.errors import ModelNotFound

MAX_PATTERNS = 100
_MODEL = re.compile(r"[A-Za-z0-9*][A-Za-z0-9._:/@*-]{0,127}")
_ENDPOINT = re.compile(r"/[A-Za-z0-9._{}:/*-]{0,127}")


def make_scope(
    models: Sequence[str] | None,
    endpoints: Sequence[str] | None,
    networks: Sequence[str] | None,
) -> Scope:
    """A scope from texts. Raises ValueError, whose text begins with the name of the field."""
    if models is None and endpoints is None and networks is None:
        return UNLIMITED
    return Scope(
        _patterns("models", models, _MODEL, "a model's name; '*' stands for any text"),
        _patterns("endpoints", endpoints, _ENDPOINT, "a path such as '/v1/*'"),
        None if networks is None else _networks(networks),
    )


def _patterns(
    field: str, given: Sequence[str] | None, form: re.Pattern[str], must_be: str
) -> tuple[str, ...] | None:
    if given is None:
        return None
    _check_count(field, given)
    for pattern in given:
        if not form.fullmatch(pattern):
            raise ValueError(f"'{field}': '{pattern[:60]}' must be {must_be}")
    return tuple(dict.fromkeys(given))


def _networks(given: Sequence[str]) -> tuple[Network, ...]:
    _check_count("networks", given)
    networks: list[Network] = []
    for text in given:
        try:
            networks.append(ip_network(text))
        except ValueError:
            problem = "must be an address or a network such as '192.0.2.0/24'"
            raise ValueError(f"'networks': '{text[:60]}' {problem}") from None
    return tuple(dict.fromkeys(networks))


def _check_count(field: str, given: Sequence[str]) -> None:
    if not given:
        raise ValueError(f"'{field}' must not be empty; leave it out for a key without this limit")
    if len(given) > MAX_PATTERNS:
        raise ValueError(f"'{field}' has {len(given)} entries; at most {MAX_PATTERNS} are allowed")


def allows_model(scope: Scope, names: Iterable[str]) -> bool:
    """Whether the key may use a model that has these names."""
    return scope.models is None or any(_matches(scope.models, name) for name in names)


def visible(scope: Scope, models: Iterable[Model]) -> list[Model]:
    """The models that the key may use."""
    return [one for one in models if allows_model(scope, (one.name, *one.aliases))]


def require_model(scope: Scope, name: str, model: Model) -> Model:
    """The model that a caller calls `name`. Raises ModelNotFound where the key may not use it."""
    if not allows_model(scope, (name, model.name, *model.aliases)):
        # as if unknown, so that a limited key does not find out what else is served
        raise ModelNotFound(name)
    return model


def allows_endpoint(scope: Scope, path: str) -> bool:
    """Whether the key may use a route; `path` is the route table's, not the request's."""
    return scope.endpoints is None or _matches(scope.endpoints, path)


def allows_source(scope: Scope, address: str) -> bool:
    """Whether the key may be used from an address; an address that is not known is refused."""
    if scope.networks is None:
        return True
    try:
        source = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(source, "ipv4_mapped", None)
    return any((mapped or source) in network for network in scope.networks)


def covers(scope: Scope, other: Scope) -> bool:
    """Whether everything that `other` allows is allowed by `scope`."""
    return (
        _covers(scope.models, other.models)
        and _covers(scope.endpoints, other.endpoints)
        and _covers_networks(scope.networks, other.networks)
    )


def _covers(outer: tuple[str, ...] | None, inner: tuple[str, ...] | None) -> bool:
    if outer is None:
        return True
    return inner is not None and all(_matches(outer, one) for one in inner)


def _covers_networks(outer: tuple[Network, ...] | None, inner: tuple[Network, ...] | None) -> bool:
    if outer is None:
        return True
    return inner is not None and all(
        any(one.version == of.version and one.subnet_of(of) for of in outer)  # type: ignore[arg-type]
        for one in inner
    )


def _matches(patterns: tuple[str, ...], text: str) -> bool:
    return any(_fits(pattern.split("*"), text) for pattern in patterns)


def _fits(pieces: list[str], text: str) -> bool:
    """Whether `text` consists of the pieces in this order, with any text between them."""
    head, *middle = pieces
    if not middle:
        return text == head
    tail = middle.pop()
    # a regular expression would try every split: users write both sides, and six stars took minutes
    place, end = len(head), len(text) - len(tail)
    if place > end or not text.startswith(head) or not text.endswith(tail):
        return False
    for piece in middle:
        place = text.find(piece, place, end)
        if place < 0:
            return False
        place += len(piece)
    return True
