"""Each route reads, translates, runs and renders; `frontend.table` lists them.

No accounting, no retries, and no knowledge of upstreams. Routes never import each other.
"""
