"""Real client programs against the served models, each in an environment of its own."""
