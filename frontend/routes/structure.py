"""Schemas of the request that is being handled, prepared on its caller's behalf."""

from dataclasses import replace

from frontend.domain.generation import Generation
from frontend.generation.run import Runner
from frontend.http.trace import current


async def prepare(runner: Runner, generation: Generation, *, whole: bool) -> Generation:
    """Ready to run; `whole`: the answer is not streamed. What the client is to know is noted.

    Raises InvalidRequest for a schema that cannot be used.
    """
    trace, structures = current(), runner.structures
    assert structures is not None
    return await structures.prepare(generation, trace.caller.name, trace.warnings, whole=whole)


async def prepare_all(
    runner: Runner, generations: list[Generation], *, whole: bool
) -> list[Generation]:
    """Several prompts with the same sampling and schemas."""
    first = await prepare(runner, generations[0], whole=whole)
    return [
        replace(one, structure=first.structure, schemas=first.schemas, held=first.held)
        for one in generations
    ]
