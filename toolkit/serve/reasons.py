"""Extracts the reason why a model does not load from Triton's error message and log.

Tracebacks, status codes and printed objects are only in the log. An engine fails in processes of
its own, and only the log says why.
"""

import json
import re
from contextlib import suppress

_MARKER = "toolkit-error:"
_LONGEST = 400
_STATUS = re.compile(r"^(Internal|Invalid argument|Unavailable|Not found|Unknown|Unsupported): ")
_KILLED = re.compile(r"Engine core initialization failed.*\{'[^']*': -(\d+)\}", re.DOTALL)
_HIDDEN = "Engine core initialization failed"
_ENGINE_ERROR = re.compile(
    r"^\((?:EngineCore|Worker)[^)]*\) ERROR [^\[]*\[[^\]]+\] "
    r"(?P<type>[A-Za-z_][\w.]*(?:Error|Exception|Exit))(?:: (?P<text>.*))?$",
    re.MULTILINE,
)
_NO_HEADER = "unpack requires a buffer of 8 bytes"
_DAMAGED = "; a file of weights is damaged: run `toolkit build-repo` again"
_CONSEQUENCES = ("WorkerProc initialization failed", "Engine core initialization failed")
_PYDANTIC = re.compile(r"validation errors? for \w+\s+(?:Value error, )?(.*?)\s*\[type=", re.DOTALL)


def plain(reason: str, log: str = "") -> str:
    """The reason in one sentence; `log` is what was logged while the model was loaded."""
    if marked := _marked(reason):
        return marked
    if killed := _KILLED.search(reason):
        return (
            f"the engine's process was killed by signal {killed[1]}, as the system does when memory"
            " runs out"
        )
    if _HIDDEN in reason and (cause := _engine_cause(log)):
        return f"{cause}{_DAMAGED}" if cause.startswith("SafetensorError") else cause
    text = reason.rpartition("state: ")[2].partition("\n\nAt:")[0].strip().rstrip(";")
    # each layer of Triton puts its status before the text
    while _STATUS.match(text):
        text = _STATUS.sub("", text)
    if dump := _PYDANTIC.search(text):
        text = dump[1]
    text = " ".join(text.split()).rstrip(";")
    # the header of an empty file of weights cannot be read
    if text.endswith(_NO_HEADER):
        return f"{text.removeprefix('error: ')}{_DAMAGED}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _engine_cause(log: str) -> str | None:
    """The first error that an engine's processes logged, without what followed from it."""
    for found in _ENGINE_ERROR.finditer(log):
        text = (found["text"] or "").strip()
        if text.startswith(_CONSEQUENCES):
            continue
        sentence = text.partition(". ")[0].rstrip(".")
        name = found["type"].rpartition(".")[2]
        return sentence if name in {"ValueError", "RuntimeError"} else f"{name}: {sentence}"
    return None


def _marked(reason: str) -> str | None:
    """The message of an error that one of the toolkit's models raised."""
    _, marker, payload = reason.partition(_MARKER)
    if marker:
        with suppress(ValueError, AttributeError):
            value, _ = json.JSONDecoder().raw_decode(payload.strip())
            return str(value.get("message") or "") or None
    return None
