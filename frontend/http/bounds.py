"""The limits of one request, and how its body is parsed within them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from frontend.domain.caching import CacheUse
from frontend.domain.request import Request
from frontend.errors import UnknownFields
from frontend.http.body import BodyBounds
from frontend.http.caching import ask_of

T = TypeVar("T")
_WARNINGS = 16
_NAME = 64


@dataclass(frozen=True, slots=True)
class Bounds:
    """The largest bodies, the most messages and inputs, the longest silence of a stream."""

    body: BodyBounds
    image_body: BodyBounds
    messages: int
    inputs: int
    heartbeat_s: float
    unknown_fields: str = "refuse"
    """Or `warn`: what happens with fields of a body that the route does not know."""

    def parse(
        self, request: Request, parser: Callable[..., T], body: object, *bounds: Any, **options: Any
    ) -> T:
        """What a dialect's parser makes of a body. Raises InvalidRequest, naming the field, if the
        body is not valid."""
        call = self._parse(request, parser, body, *bounds, **options)
        if isinstance(body, dict) and isinstance(asked := body.get("cache"), dict):
            request.outcome.cache = CacheUse(ask_of(asked))
        return call

    def _parse(
        self, request: Request, parser: Callable[..., T], body: object, *bounds: Any, **options: Any
    ) -> T:
        try:
            return parser(body, *bounds, **options)
        except UnknownFields as error:
            if self.unknown_fields == "refuse" or not isinstance(body, dict):
                raise
            names = set(error.names)
            # in the body's own order, so that the header names what the client wrote first
            unknown = [name for name in body if name in names]
            request.outcome.warnings += [f"{name[:_NAME]}: unknown" for name in unknown[:_WARNINGS]]
            kept = {name: value for name, value in body.items() if name not in names}
            # only known names are left, so this cannot raise UnknownFields again
            return parser(kept, *bounds, **options)
