"""The audit's records in the database: how they are kept, searched and removed."""

from frontend.store.audit.ids import SLOTS, first_id, moment_of
from frontend.store.audit.records import AuditStore, Entry, Removed
from frontend.store.audit.search import AuditFilter
from frontend.store.audit.words import facets_of, words_of

__all__ = [
    "SLOTS",
    "AuditFilter",
    "AuditStore",
    "Entry",
    "Removed",
    "facets_of",
    "first_id",
    "moment_of",
    "words_of",
]
