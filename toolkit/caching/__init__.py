"""`toolkit cache`: what the toolkit's home holds, what uses it, and removing what is unused."""

from toolkit.caching.entries import Entry, list_entries
from toolkit.caching.prune import Pruned, parse_age, prune

__all__ = ["Entry", "Pruned", "list_entries", "parse_age", "prune"]
