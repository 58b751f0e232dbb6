"""Who asked what, when, and how it ended: one record for each request. SQL is in `store` alone."""
