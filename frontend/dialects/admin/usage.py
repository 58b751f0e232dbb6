"""Usage as JSON and CSV, and the query that asks for it. Pure."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import orjson

_MICRO = 1_000_000
_SHOWN = {"credits_micro": "credits", "price_micro": "price", "duration_us": "duration_s"}


def render_usage(
    rows: Sequence[dict[str, Any]], limit: int, totals: dict[str, Any], by: Sequence[str] | None
) -> bytes:
    """Renders at most `limit` of the rows; a further row means that there are more, on a next page
    if the rows have an order by the columns `by`. Without rows the answer has a hint."""
    more = len(rows) > limit
    shown = [_shown(row) for row in rows[:limit]]
    last = rows[limit - 1] if more else None
    body: dict[str, Any] = {"object": "list", "data": shown, "has_more": more}
    body["next_after"] = None if last is None or by is None else cursor_of(last, by)
    body["totals"] = _shown(totals)
    if not totals["requests"]:
        body["hint"] = (
            "there are no requests in this range; usage is written when a request has ended"
        )
    return orjson.dumps(body)


def render_csv(rows: Sequence[dict[str, Any]], by: Sequence[str], sums: Sequence[str]) -> bytes:
    """A header and the rows. `sums`: the columns of a row besides its time and groups."""
    text = io.StringIO()
    # a report without rows has the same columns
    names = ["start", *by, *_shown(dict.fromkeys(sums, 0))]
    writer = csv.DictWriter(text, names, lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _plain(value) for name, value in _shown(row).items()})
    return text.getvalue().encode()


def cursor_of(row: dict[str, Any], by: Sequence[str]) -> str:
    """The cursor `after` of the page that follows this row."""
    return "~".join([str(row["start_us"]), *(str(row[name]) for name in by)])


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in row.items() if name != "start_us"}
    for name, new in _SHOWN.items():
        if name in shown:
            shown[new] = shown.pop(name) / _MICRO
    return shown


def _plain(value: object) -> object:
    """Spreadsheets run what begins with one of these."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value
