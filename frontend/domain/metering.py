"""The usage and the cost of one request. Plain data."""

from dataclasses import dataclass, field

from frontend.domain.usage import Usage


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose request it was: ids, "" where there is none."""

    organisation: str = ""
    group: str = ""
    user: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit, what is left of it, and how long until it is whole again."""

    limit: int
    remaining: int
    reset_us: int


@dataclass(frozen=True, slots=True)
class Rates:
    """The limits of requests and of tokens that have the least left; None: there is none."""

    requests: Rate | None = None
    tokens: Rate | None = None
    read_us: int = 0


@dataclass(slots=True)
class UsageRow:
    """`status` is as HTTP sends it, 499 where the client went away. Credits and price are integer
    millionths. `estimated`: the upstream did not count, or the gateway ended and these are the last
    counts that it wrote down."""

    request_id: str
    owner: Owner
    model: str
    dialect: str
    endpoint: str
    upstream: str
    started_us: int
    status: int = 0
    usage: Usage = field(default_factory=Usage)
    images: int = 0
    credits: int = 0
    price: int = 0
    duration_us: int = 0
    estimated: bool = False
