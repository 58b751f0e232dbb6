"""How users share the models: fair shares by weight, counted in tokens."""

from pydantic import Field

from frontend.settings.group import Group


class SharingSettings(Group):
    """Fair share. Weights are those of roles and groups in the database."""

    share_quantum: int = Field(
        default=10,
        ge=1,
        le=1_000_000,
        description="Tokens that a weight of 1 gains per round. Less is fairer, and costs nothing.",
    )
    share_rounds: int = Field(
        default=8,
        ge=1,
        le=10_000,
        description="Rounds of tokens that a waiting user may save, such as while its limit of"
        " running requests is reached.",
    )
    share_burst_rounds: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Rounds of tokens that each user gains while nothing runs, all of them in a"
        " minute; they are halved in each round in which others wait. 0: none.",
    )
    cost_prompt: float = Field(
        default=1.0, ge=0, le=1000, description="What a prompt token costs in the scheduler."
    )
    cost_cached: float = Field(
        default=0.1,
        ge=0,
        le=1000,
        description="What a prompt token costs that the engine had in its cache.",
    )
    cost_output: float = Field(
        default=2.0, ge=0, le=1000, description="What an output token costs in the scheduler."
    )
    max_running_per_user: int = Field(
        default=0, ge=0, description="Concurrent requests of one user; further ones wait. 0: all."
    )
    max_running_per_key: int = Field(
        default=0, ge=0, description="Concurrent requests of one key; further ones wait. 0: all."
    )
    background_wait_s: float = Field(
        default=60,
        ge=0,
        description="Seconds until a request of a batch runs, even if other requests wait.",
    )
    share_interval_s: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="Seconds between reads of what users were served by other gateways on the same"
        " database.",
    )
