"""Anthropic's Messages protocol, with the names and shapes of its API reference and SDK."""
