"""Batches of requests, which run with low priority: one answer for each line of a file."""
