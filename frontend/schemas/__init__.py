"""JSON schemas that requests bring: taken apart, weighed, and split between grammar and check.

Pure, and run in a worker process, because a stranger wrote them. `plan` and `check` are the
entrances; nothing here fetches anything.
"""
