"""Where the model server is, and what its models are called."""

import math
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from frontend.domain.durations import parse_duration
from frontend.domain.room import RoomLimits
from frontend.domain.upstreams import UpstreamEntry
from frontend.settings.checks import check_networks
from frontend.settings.entries import read_entries
from frontend.settings.group import Group, parts


class UpstreamSettings(Group):
    """The model server behind the gateway."""

    triton: str = Field(
        default="127.0.0.1:8001",
        description="Triton's gRPC address: `HOST:PORT` or `unix:/path`.",
    )
    upstreams: Path | None = Field(
        default=None,
        description="TOML or JSON file with several upstreams, instead of"
        " `triton`. See the guide on several upstreams.",
    )
    local_groups: str = Field(
        default="",
        description="Ids of the groups whose prompts may not leave the site, separated by commas;"
        " `*`: all callers. Their requests are refused if only an `external` upstream has the"
        " model.",
    )
    triton_key_file: Path | None = Field(
        default=None,
        description="File with `NAME=VALUE`, the header that Triton requires for restricted calls,"
        " such as loading and unloading models.",
    )
    models: dict[str, str] = Field(
        default_factory=dict,
        description='Further names for served models, as JSON: `{"mistral:latest": "my-chat"}`.',
    )
    repository: Path | None = Field(
        default=None,
        description="Folder of Triton's model repository, if this machine can read it. It "
        "is needed for models with `keep_alive` that have not been loaded yet.",
    )
    keep_alive: str = Field(
        default="-1",
        description="How long a model without `keep_alive` in models.yaml stays loaded after its "
        "last request, such as `5m`; -1: always. A request loads it again.",
    )
    max_loaded_gb: float | None = Field(
        default=None,
        gt=0,
        description="Maximum total size in GiB of the models loaded at one Triton, by the sizes"
        " of their weights. When a request needs another model, the least recently used models"
        " with `keep_alive` and without requests are unloaded first.",
    )
    max_loaded_models: int | None = Field(
        default=None,
        ge=1,
        description="Maximum number of models loaded at one Triton, of any size.",
    )
    max_load_wait_s: float = Field(
        default=300,
        gt=0,
        description="Maximum time in seconds that a load waits for room; then its requests get"
        " status 503.",
    )
    min_loaded_s: float = Field(
        default=10,
        ge=0,
        description="Minimum time in seconds that a model stays loaded before it is unloaded for"
        " another one.",
    )
    embed_together: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="Maximum number of texts of several requests that are embedded in one call"
        " of Triton; 1: each request has its own call.",
    )
    embed_wait_ms: float = Field(
        default=20,
        ge=0,
        le=1000,
        description="Maximum time in milliseconds that a text waits for others while calls of"
        " its model run; if none runs, it is sent immediately.",
    )
    embed_calls: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Maximum number of such calls of one model at the same time.",
    )
    backend_networks: str = Field(
        default="",
        description="Networks, besides public addresses, for upstreams that are registered by"
        " `/admin/backends` or `triton-gateway backends`: `10.1.0.0/16,fd00::/8`.",
    )
    backend_keys: Path | None = Field(
        default=None,
        description="Folder of the files that registered upstreams may use as `api_key_file`."
        " Without it, they can only use environment variables that end with `_API_KEY`.",
    )
    model_files: Path | None = Field(
        default=None,
        description="Folder of the chat templates and tokenizers that `models` of a Triton"
        " upstream may name, for models that this toolkit did not build.",
    )
    poll_interval_s: float = Field(
        default=2, gt=0, description="Seconds between two polls of the models that Triton serves."
    )

    @model_validator(mode="after")
    def _has_a_key(self) -> Self:
        _ = self.triton_key  # its ValueError is what pydantic wants
        return self

    @field_validator("upstreams")
    @classmethod
    def _can_be_read(cls, file: Path | None) -> Path | None:
        if file is not None:
            read_entries(file)
        return file

    @property
    def entries(self) -> list[UpstreamEntry]:
        """The upstreams: those of the file, else the one Triton."""
        if self.upstreams is not None:
            return read_entries(self.upstreams)
        return [UpstreamEntry("triton", self.triton)]

    @field_validator("backend_networks")
    @classmethod
    def _are_backend_networks(cls, value: str) -> str:
        return check_networks(value)

    @property
    def reachable(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """`backend_networks`, one by one."""
        return tuple(map(ip_network, parts(self.backend_networks)))

    @property
    def room(self) -> RoomLimits:
        """The limits of the models that are loaded at one upstream."""
        return RoomLimits(
            math.inf if self.max_loaded_gb is None else self.max_loaded_gb * 2**30,
            math.inf if self.max_loaded_models is None else self.max_loaded_models,
            self.max_load_wait_s,
            self.min_loaded_s,
        )

    @field_validator("keep_alive")
    @classmethod
    def _is_a_duration(cls, text: str) -> str:
        parse_duration(text)
        return text

    @property
    def keep_s(self) -> float:
        """`keep_alive` in seconds; infinite for a negative one."""
        return parse_duration(self.keep_alive)

    @property
    def triton_key(self) -> tuple[str, str] | None:
        """Name and value of the key for Triton's control calls. Raises ValueError if the file
        cannot be read or does not contain NAME=VALUE."""
        if self.triton_key_file is None:
            return None
        try:
            name, _, value = self.triton_key_file.read_text().strip().partition("=")
        except OSError as error:
            raise ValueError(f"triton_key_file: {error}") from error
        if not name or not value:
            raise ValueError(f"triton_key_file: {self.triton_key_file} does not contain NAME=VALUE")
        return name.lower(), value
