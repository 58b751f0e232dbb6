"""Batches of requests, run when nothing else does: a caller's lines in, one answer for each out."""
