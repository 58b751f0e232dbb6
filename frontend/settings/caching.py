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
        " header `x-cache-control`); `deterministic`: also those with a deterministic answer:"
        " temperature 0 or a seed, embeddings, rerank, images with a seed.",
    )
    cache_scope: OwnerScope = Field(
        default="user",
        description="Who shares cached answers: the requests of one `key`, `user`, `group` or"
        " `organisation`.",
    )
    cache_ttl_s: int = Field(
        default=3600,
        gt=0,
        le=MAX_TTL_S,
        description="Maximum time in seconds for which an answer is kept.",
    )
    cache_price: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Fraction of its tokens that a cached answer costs in quotas; 0: it is free"
        " and does not count as a request.",
    )
    cache_groups: dict[str, CacheRule] = Field(
        default_factory=dict,
        description="Different settings for groups, as JSON by group"
        ' id: `{"GROUP": {"mode": "asked", "scope": "group", "ttl_s": 600, "price": 0.1}}`.',
    )
    cache_store: Literal["memory", "redis"] = Field(
        default="memory",
        description="Where answers are stored: in each gateway process, or in the Redis of"
        " `redis_url`.",
    )
    max_cache_bytes: int = Field(
        default=64 * 2**20,
        ge=2**16,
        description="Maximum size in bytes of the answers in the memory of one process. For"
        " Redis, set its own limit (`maxmemory`, best with `allkeys-lru`).",
    )
    max_cache_entry_bytes: int = Field(
        default=2**20,
        ge=1024,
        description="Maximum size of a cached answer in bytes; a larger one is not kept.",
    )
    cache_secret: SecretStr | None = Field(
        default=None,
        description="Secret that signs answers in Redis, so that others who can write there cannot"
        " forge them; the same for all gateways, at most 64 bytes.",
    )
    prefix_cache_scope: Literal["shared", "key", "user", "group", "organisation"] = Field(
        default="shared",
        description="Who shares prefixes of prompts in vLLM's cache. Sharing is faster, but"
        " response times can reveal which prompts others have sent.",
    )

    @model_validator(mode="after")
    def _has_its_store(self) -> Self:
        if self.is_used and self.cache_store == "redis" and getattr(self, "redis", None) is None:
            raise ValueError("cache_store: 'redis' requires the setting 'redis_url'")
        if self.cache_secret and len(self.cache_secret.get_secret_value().encode()) > 64:
            raise ValueError("cache_secret: it has more than 64 bytes; use a shorter one")
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
