"""The response cache, and who shares the engines' caches of prompts."""

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from frontend.domain.caching import MAX_TTL_S, CachePolicy, CacheRule, Mode, OwnerScope
from frontend.settings.group import Group


class CacheSettings(Group):
    """Answers that are given again to the same request of the same owner."""

    cache: Mode = Field(
        default="off",
        description="The response cache. `asked`: only requests that ask for it (field `cache`,"
        " header `x-cache-control`); `deterministic`: also those whose answer is determined:"
        " temperature 0 or a seed, embeddings, rerank, images with a seed.",
    )
    cache_scope: OwnerScope = Field(
        default="user",
        description="Who is given the same answers: one `key`, `user`, `group` or `organisation`.",
    )
    cache_ttl_s: int = Field(
        default=3600, gt=0, le=MAX_TTL_S, description="Seconds that an answer is kept at most."
    )
    cache_price: float = Field(
        default=0,
        ge=0,
        le=1,
        description="The part of its tokens that a cached answer costs in quotas; 0: free, and"
        " it does not count as a request.",
    )
    cache_groups: dict[str, CacheRule] = Field(
        default_factory=dict,
        description="What groups have instead, as JSON by their ids:"
        ' `{"GROUP": {"mode": "asked", "scope": "group", "ttl_s": 600, "price": 0.1}}`.',
    )
    cache_store: Literal["memory", "redis"] = Field(
        default="memory",
        description="Where answers are: in each gateway process, or in the Redis of `redis_url`.",
    )
    max_cache_bytes: int = Field(
        default=64 * 2**20,
        ge=2**16,
        description="Bytes of answers in one process's memory. Redis has a limit of its own"
        " (`maxmemory`, best with `allkeys-lru`).",
    )
    max_cache_entry_bytes: int = Field(
        default=2**20, ge=1024, description="A larger answer is not kept."
    )
    cache_secret: SecretStr | None = Field(
        default=None,
        description="Signs answers in Redis, so that who else can write there cannot forge them;"
        " the same for all gateways, at most 64 bytes.",
    )
    prefix_cache_scope: Literal["shared", "key", "user", "group", "organisation"] = Field(
        default="shared",
        description="Who shares prefixes of prompts in vLLM's cache. Sharing is faster, and its"
        " times show what others have sent.",
    )

    @model_validator(mode="after")
    def _has_its_store(self) -> Self:
        if self.is_used and self.cache_store == "redis" and getattr(self, "redis", None) is None:
            raise ValueError("cache_store: 'redis' needs the setting 'redis_url'")
        if self.cache_secret and len(self.cache_secret.get_secret_value().encode()) > 64:
            raise ValueError("cache_secret: it has more than 64 bytes")
        return self

    @property
    def is_used(self) -> bool:
        """Whether anybody may use it."""
        modes = (self.cache, *(rule.mode for rule in self.cache_groups.values()))
        return any(mode not in (None, "off") for mode in modes)

    @property
    def cache_policy(self) -> CachePolicy:
        """Of groups without a rule."""
        return CachePolicy(self.cache, self.cache_scope, self.cache_ttl_s, self.cache_price)
