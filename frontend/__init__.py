"""The gateway: OpenAI's API on one side, one Triton ensemble call per request on the other.

Imports point one way: app → routes → generation → backends → domain, errors. `dialects` are pure
translations and know only domain and errors. Only `app` and `routes` know Starlette, only
`backends.triton` knows gRPC, only `app` and `__main__` read settings.
"""
