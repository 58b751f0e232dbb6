"""JSON schemas that requests bring: measured, and split between grammar and check.

Pure, and run in a worker process, because callers are not trusted. Call `plan` and `check`; the
other modules are their parts. Nothing here fetches anything.
"""
