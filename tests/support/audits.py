"""Records of the audit as a gateway would write them."""

from frontend.domain.audit import AuditRecord
from frontend.store.audit import first_id

EVER = 2**51 - 1
START_US = 1_700_000_000_000_000


def uncounted(records: int) -> None:
    """Where the metrics of a gateway would count records."""


def record(number: int, user: str = "u", model: str = "m", status: int = 200) -> AuditRecord:
    return AuditRecord(
        id=first_id(START_US + number * 1_000_000) + 7,
        request_id=f"r{number}",
        client_id="",
        group_id="g" + user,
        user_id=user,
        user_name=user,
        key_id="k",
        dialect="openai",
        method="POST",
        route="/v1/chat/completions",
        model=model,
        upstream="triton",
        decision="allowed",
        status=status,
        error="",
        ran=True,
        prompt_tokens=number,
        cached_tokens=0,
        completion_tokens=1,
        reasoning_tokens=0,
        images=0,
        credits_micro=0,
        queue_us=0,
        first_token_us=None,
        duration_us=1,
        address="127.0.0.1",
        digest=bytes(32),
        level="full" if number % 2 else "metadata",
    )
