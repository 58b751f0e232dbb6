"""The gateway's own API for accounts: JSON in, JSON out, errors in OpenAI's shape."""
