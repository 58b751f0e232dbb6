"""`POST /charts`: numbers as a picture, for pages. Nothing is read or stored."""

from dataclasses import dataclass

from frontend.dialects.admin.charts import MAX_POINTS, ChartBody
from frontend.domain.request import Request
from frontend.errors import InvalidRequest, Overloaded
from frontend.http.client import Client
from frontend.media.charts import Drawing, Series, draw
from frontend.routes.accounts import Desk
from frontend.workers import WorkerDied, Workers, WorkerTimeout

# an answer that is opened as a page of its own is a picture without any rights
_SAFE = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
    (b"x-content-type-options", b"nosniff"),
]


@dataclass(frozen=True, slots=True)
class ChartRoutes:
    """Charts, drawn in worker processes: a large one takes 0.3 s."""

    desk: Desk
    workers: Workers

    async def draw(self, request: Request, client: Client) -> None:
        """POST /charts"""
        body, _ = await self.desk.read(request, client, ChartBody)
        what = drawing(body)
        try:
            picture = await self.workers.call(draw, what, caller=request.user)
        except (WorkerTimeout, WorkerDied):
            raise Overloaded("the chart could not be drawn in time; try again") from None
        await client.respond(picture, headers=_SAFE, kind=b"image/svg+xml")


def drawing(body: ChartBody) -> Drawing:
    """The chart that a body describes. Raises InvalidRequest if the series do not fit the labels or
    have too many values."""
    for at, one in enumerate(body.series):
        if len(one.values) != len(body.labels):
            raise InvalidRequest(
                f"'series[{at}].values' has {len(one.values)} values for {len(body.labels)}"
                " labels; give one for each label",
                param=f"series[{at}].values",
            )
    if (values := len(body.series) * len(body.labels)) > MAX_POINTS:
        text = f"'series' has {values:,} values in total; at most {MAX_POINTS:,} are allowed"
        raise InvalidRequest(text, param="series")
    series = [Series(_clean(one.name), one.values) for one in body.series]
    labels = [_clean(one) for one in body.labels]
    return Drawing(_clean(body.title), _clean(body.unit), labels, series, body.kind, body.width)


def _clean(text: str) -> str:
    """Without characters that XML 1.0 does not allow (section 2.2)."""
    return "".join(one if one.isprintable() else " " for one in text)
