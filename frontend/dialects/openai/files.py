"""`/v1/files`: reads an upload's form and a list's query, and renders files. Pure."""

import time
from collections.abc import Mapping
from typing import Any

import orjson

from frontend.dialects.refusal import refuse, require, shown
from frontend.domain.batches import BATCH, OUTPUT, Upload

_KNOWN = {"purpose", "expires_after[anchor]", "expires_after[seconds]"}
_OTHERS = {
    "assistants",
    "assistants_output",
    "fine-tune",
    "fine-tune-results",
    "vision",
    "user_data",
    "evals",
}
_SHORTEST_S, _LONGEST_S = 3600, 30 * 86400
_MAX_NAME = 200
MAX_LISTED = 10_000


def check_form(fields: Mapping[str, str], filename: str | None) -> int | None:
    """Seconds until the file expires; None: never. Raises InvalidRequest naming the field."""
    for name in fields:
        if name not in _KNOWN:
            raise refuse(name[:60], "is not a field of an upload", code="unknown_parameter")
    if filename is None:
        raise require("file")
    purpose = fields.get("purpose")
    if purpose is None:
        raise require("purpose")
    if purpose != BATCH:
        reason = (
            "the gateway does not use such files"
            if purpose in _OTHERS
            else "the purpose is unknown"
        )
        raise refuse("purpose", f"must be '{BATCH}', not {shown(purpose)}: {reason}")
    return _lifetime(fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]"))


def _lifetime(anchor: str | None, seconds: str | None) -> int | None:
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise refuse("expires_after[anchor]", "must be 'created_at'")
    return check_lifetime("expires_after[seconds]", _number(seconds))


def check_lifetime(path: str, seconds: int | None) -> int:
    """Raises InvalidRequest for a lifetime out of range."""
    if seconds is None or not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise refuse(path, f"must be an integer from {_SHORTEST_S} to {_LONGEST_S}")
    return seconds


def _number(text: str | None) -> int | None:
    """A number of a few digits; None for anything else."""
    whole = text is not None and text.isascii() and text.isdigit() and len(text) < 10
    return int(text or "") if whole else None


def make_upload(file_id: str, owner: str, name: str, size_bytes: int, ttl_s: int | None) -> Upload:
    """A file of requests that was just received."""
    now_s = int(time.time())
    expires_s = None if ttl_s is None else now_s + ttl_s
    return Upload(file_id, owner, name[:_MAX_NAME], BATCH, size_bytes, now_s, expires_s)


def read_page(query: Mapping[str, str], most: int, default: int) -> tuple[int, str | None]:
    """(limit, after) of a list. Raises InvalidRequest for a limit that is not from 1 to `most`."""
    text = query.get("limit", str(default))
    limit = _number(text)
    if limit is None or not 1 <= limit <= most:
        raise refuse("limit", f"must be an integer from 1 to {most}, not {shown(text)}")
    return limit, query.get("after") or None


def read_order(query: Mapping[str, str]) -> bool:
    """Whether the oldest come first. Raises InvalidRequest unless it is `asc` or `desc`."""
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise refuse("order", f"must be 'asc' or 'desc', not {shown(order)}")
    return order == "asc"


def read_purpose(query: Mapping[str, str]) -> str | None:
    """The purpose to list, or None for all. Raises InvalidRequest for an unknown purpose."""
    purpose = query.get("purpose")
    if purpose not in (None, BATCH, OUTPUT, *_OTHERS):
        raise refuse("purpose", f"must be '{BATCH}' or '{OUTPUT}', not {shown(purpose)}")
    return purpose


def render_file(upload: Upload) -> bytes:
    """One file."""
    return orjson.dumps(_file(upload))


def render_files(uploads: list[Upload], *, more: bool) -> bytes:
    """A page of files."""
    return render_page([_file(one) for one in uploads], more=more)


def render_page(data: list[dict[str, Any]], *, more: bool) -> bytes:
    """A page of any objects with ids."""
    ends = (
        {"first_id": data[0]["id"], "last_id": data[-1]["id"]}
        if data
        else {"first_id": None, "last_id": None}
    )
    return orjson.dumps({"object": "list", "data": data, **ends, "has_more": more})


def render_deleted(file_id: str) -> bytes:
    """The answer of a deletion."""
    return orjson.dumps({"id": file_id, "object": "file", "deleted": True})


def _file(upload: Upload) -> dict[str, Any]:
    return {
        "id": upload.id, "object": "file", "bytes": upload.size_bytes,
        "created_at": upload.created_s, "expires_at": upload.expires_s, "filename": upload.name,
        "purpose": upload.purpose, "status": "processed", "status_details": None,
    }  # fmt: skip
