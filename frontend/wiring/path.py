"""The path of a request, and what it needs: upstreams, queue, schemas and images."""

from functools import partial
from ipaddress import ip_network

from frontend.budget import Budget
from frontend.cache.answers import AnswerCache
from frontend.cache.entries import Sealer
from frontend.cache.memory import MemoryEntries
from frontend.engines import Engines, is_named
from frontend.generation.charge import Tariff
from frontend.generation.path import Path
from frontend.generation.policy import Policy
from frontend.generation.structure import Structures
from frontend.generation.together import Together
from frontend.media.fetch import Fetcher
from frontend.media.images import ImageBounds, Images
from frontend.media.transcode import DecodeLimits
from frontend.reach import Reach
from frontend.scheduling.cost import CostWeights
from frontend.scheduling.jobs import Caps
from frontend.scheduling.policy import FairShare
from frontend.scheduling.queue import Bounds as QueueBounds
from frontend.scheduling.queue import Queue
from frontend.scheduling.ring import Quantum
from frontend.schemas.limits import Limits
from frontend.settings import Settings
from frontend.settings.group import parts
from frontend.settings.media import MediaSettings
from frontend.store.database import Database
from frontend.store.redis import RedisEntries
from frontend.store.turns import turn
from frontend.telemetry.metrics import Metrics
from frontend.upstreams.fleet import Fleet
from frontend.upstreams.protocol import Upstream
from frontend.upstreams.roster import Roster
from frontend.workers import Workers

_DECODER_BYTES = 512 * 2**20
"""Address space of a process that decodes images: Python, libraries and files."""
_DECODED_BYTES = 16
"""And for each pixel: an image is copied a few times on its way to RGB."""
_MAX_DECODING = 2048
"""Images that are decoded or wait for it."""


def make_path(
    settings: Settings, upstream: Upstream | None, metrics: Metrics, database: Database
) -> Path:
    """The path with its upstreams; `upstream` instead of those of the settings."""
    engines = _engines(settings, database)
    entries = settings.entries
    return Path(
        Fleet([engines.make(one) for one in entries])
        if upstream is None
        else Fleet([engines.member(entries[0], upstream)]),
        _queue(settings),
        _structures(settings),
        _images(settings),
        Policy(
            settings.max_text_bytes,
            settings.allowed_constraints,
            frozenset(parts(settings.local_groups)),
        ),
        tariff=Tariff(
            CostWeights(settings.cost_prompt, settings.cost_cached, settings.cost_output),
            image_tokens=settings.cost_image_tokens,
        ),
        runs=metrics.runs,
        cache=_cache(settings) if settings.is_used else None,
        salts=settings.prefix_cache_scope,
        together=Together(
            settings.embed_together, settings.embed_wait_ms / 1000, settings.embed_calls
        ),
    )


def _cache(settings: Settings) -> AnswerCache:
    policy = settings.cache_policy
    entries: MemoryEntries | RedisEntries = MemoryEntries(settings.max_cache_bytes)
    if settings.cache_store == "redis" and settings.redis is not None:
        entries = RedisEntries(settings.redis, settings.redis_timeout_s)
    secret = settings.cache_secret
    return AnswerCache(
        entries,
        policy,
        {group: policy.with_rule(rule) for group, rule in settings.cache_groups.items()},
        Sealer(b"" if secret is None else secret.get_secret_value().encode()),
        settings.max_cache_entry_bytes,
    )


def _engines(settings: Settings, database: Database) -> Engines:
    # the start has refused cycles among the names of `models` (`serve._read`)
    return Engines(
        settings.poll_interval_s,
        settings.models,
        settings.keep_s,
        (settings.triton_key, settings.repository),
        settings.room,
        files=settings.model_files,
        turns=partial(turn, database),
    )


def make_roster(settings: Settings, path: Path, database: Database) -> Roster:
    """The upstreams that administrators register."""
    make = partial(
        _engines(settings, database).make_registered,
        reach=Reach(settings.reachable),
        keys=settings.backend_keys,
    )
    return Roster(path.fleet, database, make, is_named, path.places.changed)


def _queue(settings: Settings) -> Queue:
    quantum = Quantum(settings.share_quantum, settings.share_rounds, settings.share_burst_rounds)
    caps = Caps(settings.max_running_per_user, settings.max_running_per_key)
    return Queue(
        FairShare(settings.max_running, quantum, caps, settings.background_wait_s),
        QueueBounds(
            settings.max_waiting, settings.max_waiting_per_user, settings.max_waiting_bytes
        ),
    )


def _structures(settings: Settings) -> Structures:
    workers = Workers(
        settings.schema_workers,
        settings.schema_timeout_s,
        settings.max_schema_memory_bytes,
        max_waiting=4 * settings.max_running,  # answers that end at the same time
    )
    limits = Limits(
        size_bytes=settings.max_schema_bytes,
        total_bytes=settings.max_schemas_bytes,
        depth=settings.max_schema_depth,
        properties=settings.max_schema_properties,
        enum=settings.max_schema_enum,
        expansion=settings.max_schema_expansion,
        patterns=settings.max_schema_patterns,
        pattern_size=settings.max_schema_pattern_size,
    )
    return Structures(workers, limits, settings.schema_retries)


def _images(settings: MediaSettings) -> Images:
    networks = tuple(map(ip_network, settings.networks))
    fetcher = Fetcher(settings.max_image_bytes, settings.image_timeout_s, networks)
    pixels = settings.max_image_pixels
    workers = Workers(
        settings.image_processes,
        settings.image_decode_s,
        _DECODER_BYTES + _DECODED_BYTES * pixels,
        _MAX_DECODING,
    )
    bounds = ImageBounds(
        settings.max_images,
        settings.max_image_bytes,
        settings.max_encoded_images_bytes,
        DecodeLimits(pixels, settings.max_image_scans, settings.max_encoded_image_bytes),
    )
    # four requests at their maximum, so that one caller with half of it cannot block the others
    return Images(fetcher, workers, Budget(4 * settings.max_encoded_images_bytes), bounds)
