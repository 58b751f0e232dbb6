"""Real client programs against the served catalogue, each in an environment of its own."""
