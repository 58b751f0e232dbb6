"""How many requests a server runs at once, where it says it.

vLLM says it in `/server_info`, which only exists with VLLM_SERVER_DEV_MODE=1 (vLLM 0.11 and later);
llama.cpp in `/props`; TGI in `/info`.
"""

from typing import Any

from frontend.errors import GatewayError
from frontend.upstreams.web import Refused, Web

_TIMEOUT_S = 3.0
_PLACES: dict[str, tuple[str, tuple[str, ...]]] = {
    "vllm": (
        "/server_info?config_format=json",
        ("vllm_config", "scheduler_config", "max_num_seqs"),
    ),
    "llama.cpp": ("/props", ("total_slots",)),
    "tgi": ("/info", ("max_concurrent_requests",)),
}
"""The route of each engine, and where the number is in its answer."""


async def find_slots(web: Web, engine: str) -> int | None:
    """None where the server does not say it."""
    if engine not in _PLACES:
        return None
    route, path = _PLACES[engine]
    try:
        said: Any = await web.read("GET", route, timeout_s=_TIMEOUT_S)
    except (GatewayError, Refused):
        return None
    for name in path:
        said = said.get(name) if isinstance(said, dict) else None
    return said if type(said) is int and said > 0 else None
