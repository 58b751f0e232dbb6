"""How users share the models: fair shares by weight, counted in tokens."""

from pydantic import Field

from frontend.settings.group import Group


class SharingSettings(Group):
    """Fair share. Weights are those of roles and groups in the database."""

    share_quantum: int = Field(
        default=10,
        ge=1,
        le=1_000_000,
        description="Tokens that a weight of 1 gains per round. A lower value is fairer and does"
        " not cost throughput.",
    )
    share_rounds: int = Field(
        default=8,
        ge=1,
        le=10_000,
        description="Maximum number of rounds of tokens that a waiting user accumulates, for"
        " example while its limit of running requests is reached.",
    )
    share_burst_rounds: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Rounds of tokens that each user gains while nothing runs, within a minute;"
        " they are halved in each round in which others wait. 0: none.",
    )
    cost_prompt: float = Field(
        default=1.0, ge=0, le=1000, description="Cost of a prompt token in the scheduler."
    )
    cost_cached: float = Field(
        default=0.1,
        ge=0,
        le=1000,
        description="Cost of a prompt token from the engine's cache in the scheduler.",
    )
    cost_output: float = Field(
        default=2.0, ge=0, le=1000, description="Cost of an output token in the scheduler."
    )
    cost_image_tokens: int = Field(
        default=1000,
        ge=0,
        le=1_000_000,
        description="Prompt tokens that the scheduler expects of each image in a prompt, until the"
        " engine has counted them.",
    )
    max_running_per_user: int = Field(
        default=0,
        ge=0,
        description="Maximum number of concurrent requests of one user; further ones wait. 0:"
        " unlimited.",
    )
    max_running_per_key: int = Field(
        default=0,
        ge=0,
        description="Maximum number of concurrent requests of one key; further ones wait. 0:"
        " unlimited.",
    )
    background_wait_s: float = Field(
        default=60,
        ge=0,
        description="Seconds after which a waiting batch request runs even if other requests wait.",
    )
    share_interval_s: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="Seconds between reads of what other gateways on the same database have served"
        " to each user.",
    )
