"""`toolkit cache`: lists the toolkit's home and what uses it, and removes unused files."""

from toolkit.caching.entries import Entry, list_entries
from toolkit.caching.prune import Pruned, parse_age, prune

__all__ = ["Entry", "Pruned", "list_entries", "parse_age", "prune"]
