"""What the gateway's process holds after many requests: it must not grow with their number.

Eight clients at a time over the scripted echo engine, every tenth request a stream of 16 tokens.
"""

import asyncio
from dataclasses import dataclass

from benchmarks.gateway import echo_service, gateway_of
from benchmarks.loopback import run_load

WARM, EACH, ROUNDS = 10_000, 18_000, 5


@dataclass(frozen=True, slots=True)
class Held:
    """MiB that the gateway alone holds after so many requests."""

    requests: int
    mib: float


def measure() -> list[Held]:
    """After the warm-up, then after each round."""
    held = []
    with echo_service() as service:
        gateway = gateway_of(service)
        for number in range(ROUNDS + 1):
            _load(service.port, EACH if number else WARM)
            mib = gateway.memory_full_info().uss / 2**20
            held.append(Held(WARM + number * EACH, mib))
    return held


def _load(port: int, count: int) -> None:
    def body(number: int) -> dict[str, object]:
        streams = number % 10 == 0
        script = '{"chunks": 16}' if streams else f"hello {number}"
        message = {"role": "user", "content": script}
        return {"model": "echo", "messages": [message], "stream": streams}

    bodies = [body(number) for number in range(count)]
    asyncio.run(run_load(port, "/v1/chat/completions", bodies, 8))
