"""The gateway: OpenAI's, Anthropic's and Ollama's APIs on one side, Triton on the other.

Imports point one way: app → table → routes → generation → upstreams, media, accounts → store →
domain → errors; pyproject.toml has the contracts that check it. `dialects` know only `domain` and
`errors`, only `http` and `app` know ASGI, only `upstreams.triton` knows gRPC, and only `app` and
`__main__` read settings.
"""
