"""Finished replies checked against what the request asked for. Pure.

The engine's grammar makes them right; this says so, or fails the request: a client that asked for
JSON never gets something else with `finish_reason: stop`. A reply that was cut (`length`) is the
client's to judge, and one that calls tools is no content.
"""

from frontend.dialects.schemas import Structure
from frontend.domain import Event
from frontend.errors import BackendFailed


class StructureCheck:
    """Collects the content of `count` completions, if there is something to check at all."""

    def __init__(self, structure: Structure | None, count: int) -> None:
        self._structure = structure
        self._texts: list[list[str]] = [[] for _ in range(count if structure else 0)]
        self._calling: set[int] = set()

    def see(self, event: Event, at: int | None = None) -> None:
        """Takes an event of the completion number `at`, its own index when left out.

        Raises BackendFailed when it ends a text that is not what was asked for.
        """
        if self._structure is None:
            return
        number = event.index if at is None else at
        self._texts[number].append(event.text)
        if event.tool_calls:
            self._calling.add(number)
        if event.finish_reason != "stop" or number in self._calling:
            return
        if not self._structure.matches("".join(self._texts[number])):
            raise BackendFailed(
                "the model's answer is not what 'response_format' asks for",
                code="invalid_structured_output",
            )
