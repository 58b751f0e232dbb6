"""Who asked what, when, and how it ended: one record for each request. Only `store` has SQL."""
