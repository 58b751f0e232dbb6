"""The parts beside the path: the ledger, the audit and batches."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from frontend.accounts.clock import Clock
from frontend.accounts.directory.directory import Directory
from frontend.accounts.directory.groups import Groups
from frontend.accounts.ledger import Ledger
from frontend.accounts.placement import rules_of
from frontend.accounts.retention import retention_of, write_purge
from frontend.accounts.share import Share
from frontend.accounts.shared import LEASE_US, Shared
from frontend.audit.bucket import BucketArtifacts
from frontend.audit.purge import Purge
from frontend.audit.record import Recorder
from frontend.audit.recovery import Recovery
from frontend.audit.writer import Writer
from frontend.batches.lines import LineBounds
from frontend.batches.perform import Performer
from frontend.batches.runner import Runner
from frontend.batches.work import Means
from frontend.domain.audit import AuditLevel, AuditPolicy
from frontend.generation.path import Path
from frontend.http.routing import Handler
from frontend.settings import Settings
from frontend.settings.audit import AuditSettings
from frontend.store.audit import AuditStore
from frontend.store.batches import BatchStore
from frontend.store.database import Database
from frontend.store.ledger.books import LedgerStore
from frontend.store.location import locate
from frontend.store.objects import Bucket, Objects
from frontend.store.redis import SharedCounters
from frontend.store.uploads import UploadStore
from frontend.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from frontend.telemetry.traces.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Stores:
    """Where a gateway keeps its state."""

    database: Database
    counters: SharedCounters | None
    """What several gateways share in Redis."""


def make_stores(settings: Settings, database: Database | None) -> Stores:
    """`database`: instead of the settings' one. Raises ValueError for a URL that is not valid."""
    counters = None
    if settings.redis is not None:
        counters = SharedCounters(settings.redis, settings.redis_timeout_s, LEASE_US)
    return Stores(database or Database(locate(settings.url, settings.data_directory)), counters)


def make_ledger(settings: Settings, stores: Stores, metrics: Metrics) -> Ledger:
    """Budgets, limits and usage rows."""
    clock, shared = Clock(), None
    if stores.counters is not None:
        shared = Shared(stores.counters, Share(settings.redis_gateways), clock)
    default = AuditPolicy(AuditLevel(settings.audit))
    recovery = Recovery(
        AuditStore(stores.database),
        settings.data_directory / "audit",
        default,
        metrics.audit_records.inc,
    )
    return Ledger(
        LedgerStore(stores.database),
        settings.default_tokens_per_month,
        settings.max_refused_per_minute,
        charged=metrics.charge,
        lost=metrics.usage_lost.inc,
        folder=settings.data_directory / "ledger",
        clock=clock,
        shared=shared,
        settled=recovery.run,
    )


def make_recorder(settings: Settings, database: Database, metrics: Metrics) -> Recorder:
    """Audit records of requests, and the policy of groups that do not set one."""
    folder, bucket = settings.data_directory / "audit", None
    if settings.audit_s3_bucket:
        bucket = _bucket(settings, folder / "artifacts", metrics)
    writer = Writer(
        AuditStore(database),
        folder,
        settings.max_audit_records,
        settings.max_audit_bytes,
        written=metrics.audit_records.inc,
        lost=metrics.audit_lost.inc,
        bucket=bucket,
    )
    metrics.watch("audit_backlog", "Audit records that wait to be written", lambda: writer.backlog)
    return Recorder(writer, AuditPolicy(AuditLevel(settings.audit), settings.audit_strict))


def _bucket(settings: AuditSettings, folder: FilePath, metrics: Metrics) -> BucketArtifacts:
    place = Bucket(
        settings.audit_s3_bucket,
        settings.audit_s3_endpoint,
        settings.audit_s3_region,
        settings.audit_s3_prefix,
        settings.audit_s3_key,
        settings.audit_s3_timeout_s,
        settings.audit_s3_ca_file,
    )
    made = BucketArtifacts(
        folder, Objects(place), settings.max_audit_waiting_bytes, metrics.artifacts_lost.inc
    )
    metrics.watch(
        "audit_artifacts_waiting_bytes", "Bytes of artifacts that wait for the bucket",
        lambda: made.waiting_bytes,
    )  # fmt: skip
    return made


def make_runner(
    settings: Settings,
    path: Path,
    recorder: Recorder,
    handler: Callable[[str], Handler],
    tracing: "Tracing | None",
    groups: Groups,
) -> Runner:
    """Batches. `handler` answers a line's path."""
    database = recorder.writer.store.database
    folder = settings.data_directory / "files"
    means = Means(
        BatchStore(database),
        UploadStore(database, folder, settings.max_files_bytes),
        Performer(
            handler, settings.request_timeout_s, partial(rules_of, groups), recorder, tracing
        ),
        LineBounds(
            settings.max_batch_requests,
            settings.max_image_body_bytes,
            settings.max_json_values,
            settings.max_json_containers,
        ),
        asyncio.Semaphore(settings.max_batch_running),
        lambda: path.draining,
    )
    return Runner(means)


def make_purge(settings: Settings, recorder: Recorder, directory: Directory) -> Purge:
    """The job that removes audit records that have expired, by the groups' policies."""
    return Purge(
        recorder.writer.store,
        recorder.writer.artifacts,
        partial(retention_of, directory.groups, settings.audit_days),
        partial(write_purge, directory.groups.changes),
    )
