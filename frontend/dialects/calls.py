"""Renders tool calls for OpenAI's chat and Ollama: whole, and as deltas of a stream. Pure."""

from typing import Any


def join_calls(deltas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The calls of a reply from all their deltas."""
    joined: dict[int, dict[str, Any]] = {}
    for delta in deltas:
        call = joined.setdefault(delta["index"], {"id": "", "name": "", "arguments": []})
        # only the first delta of a call has them
        call["id"] = delta.get("id") or call["id"]
        call["name"] = delta.get("name") or call["name"]
        call["arguments"].append(delta["arguments"])
    return [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": "".join(call["arguments"])},
        }
        # deltas of parallel calls may alternate
        for _, call in sorted(joined.items())
    ]


def render_call_delta(delta: dict[str, Any]) -> dict[str, Any]:
    """One delta in a chunk: id, type and name come once."""
    if "id" not in delta:
        return {"index": delta["index"], "function": {"arguments": delta["arguments"]}}
    function = {"name": delta.get("name"), "arguments": delta["arguments"]}
    return {"index": delta["index"], "id": delta["id"], "type": "function", "function": function}
