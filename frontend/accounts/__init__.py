"""The rules for callers, keys, roles, limits and credits, without SQL, HTTP or dialects."""
